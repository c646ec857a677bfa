import { SmartImage } from "@image-gateway/web/react";

export const right = (
  <smart-image image-id="a" mode="url" lazy width={80} max-retries="5" onretry={({ detail }) => detail.delay.toFixed()}>
    <img alt="" />
  </smart-image>
);
export const component = (
  <SmartImage
    imageId="a"
    mode="url"
    widths={[80]}
    lazy
    onRetry={({ detail }) => detail.delay.toFixed()}
    onError={({ currentTarget }) => currentTarget.lastError?.kind}
    id="one"
  />
);
export const wrong = (
  <>
    {/* @ts-expect-error: a mode that does not exist */}
    <smart-image mode="direct" />
    {/* @ts-expect-error: a property instead of an attribute */}
    <smart-image imageId="a" />
    {/* @ts-expect-error */}
    <SmartImage mode="direct" />
    {/* @ts-expect-error: no such detail */}
    <SmartImage onStateChange={({ detail }) => detail.delay} />
  </>
);
