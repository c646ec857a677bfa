/** @jsxImportSource preact */
export const right = (
  <smart-image image-id="a" mode="url" lazy width={80} onretry={({ detail }) => detail.delay.toFixed()} />
);
// @ts-expect-error: a mode that does not exist
export const wrong = <smart-image mode="direct" />;
