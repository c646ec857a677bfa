"use client";
/** The React package, for React 19 or newer: the element as a component. */
import { createElement, type HTMLAttributes, type ReactElement, type Ref, useState, useSyncExternalStore } from "react";
import { type PreloadOptions, preload } from "react-dom";
import type { ComponentProperties } from "./element/attributes.js";
import { defineSmartImage } from "./element/define-element.js";
import type { SmartImageElement } from "./element/smart-image.js";
import type { SmartImageListeners } from "./element/tag-types.js";
import { attributesOf, htmlOf, type ServerPicture, serverPicture } from "./server-picture.js";

/** The listeners of `SmartImage` by the element's own names. */
const LISTENERS = {
  onLoad: "onload",
  onError: "onerror",
  onRetry: "onretry",
  onRecover: "onrecover",
  onStateChange: "onstatechange",
} as const satisfies Record<string, keyof SmartImageListeners>;

type Listeners = { [Name in keyof typeof LISTENERS]?: SmartImageListeners[(typeof LISTENERS)[Name]] };

/** Properties of the element, its listeners, and attributes of any element. `children` are for the slots. */
export interface SmartImageProps
  extends ComponentProperties,
    Listeners,
    Omit<HTMLAttributes<SmartImageElement>, keyof ComponentProperties | keyof Listeners> {
  ref?: Ref<SmartImageElement> | undefined;
}

/** `<smart-image>` whose `<img>` is the element's own, so that React never removes what the element has moved. */
export function SmartImage({ children, ...props }: SmartImageProps): ReactElement {
  const isServerRendered = useSyncExternalStore(
    () => () => {},
    () => false,
    () => true,
  );
  const isDefined = defineSmartImage();
  // Made once: later changes are the element's, if there is one.
  const [first] = useState(() => (isDefined && isServerRendered ? begun(serverPicture(props)) : null));
  const made = isDefined ? first : begun(serverPicture(props));
  // React leaves such content alone, also while it hydrates.
  const content = made && { dangerouslySetInnerHTML: { __html: htmlOf(made) }, suppressHydrationWarning: true };
  const picture = content && createElement("picture", content);
  const placeholder = made?.placeholder && createElement("img", made.placeholder);
  return createElement("smart-image", attributesOf(props, LISTENERS), placeholder, picture, children);
}

/** Return the picture. With priority, it begins to load with the page's head. */
function begun(picture: ServerPicture): ServerPicture {
  const { href, imagesrcset, imagesizes, type, crossorigin, referrerpolicy } = (picture.preload ?? {}) as Record<
    string,
    string
  >;
  const request = { crossOrigin: crossorigin, referrerPolicy: referrerpolicy, fetchPriority: "high" };
  const options = { as: "image", imageSrcSet: imagesrcset, imageSizes: imagesizes, type, ...request };
  if (href) preload(href, options as PreloadOptions);
  return picture;
}

export { configureSmartImage, type SmartImageConfig } from "./core/config.js";
export type { FailureKind, LoadFailure } from "./core/failure.js";
export { imageProxy } from "./core/image-proxy.js";
export type { LoadState } from "./core/loader.js";
export { SmartImageElement, type SmartImageEventMap } from "./element/smart-image.js";
export { type UsedImage, type UseImageOptions, useImage } from "./use-image.js";
