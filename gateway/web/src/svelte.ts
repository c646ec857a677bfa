/** The Svelte package, for Svelte 5: the element as a component, which the application compiles. */
/** @ts-ignore */
import type { Component, Snippet } from "svelte";
/** @ts-ignore */
import type { HTMLAttributes } from "svelte/elements";
import type { ComponentProperties } from "./element/attributes.js";
import type { SmartImageElement } from "./element/smart-image.js";
import type { SmartImageListeners } from "./element/tag-types.js";
/** @ts-ignore */
import Made from "./svelte/SmartImage.svelte";

/** Properties of the element, its listeners, and attributes of any element. `children` are for the slots. */
export interface SmartImageProps
  extends ComponentProperties,
    SmartImageListeners,
    Omit<HTMLAttributes<SmartImageElement>, keyof ComponentProperties | keyof SmartImageListeners | "children"> {
  /** The element: `bind:element`. */
  element?: SmartImageElement | undefined;
  children?: Snippet | undefined;
}

/** `<smart-image>` with typed properties, also rendered by servers. */
export const SmartImage: Component<SmartImageProps, Record<string, never>, "element"> = Made;

export { configureSmartImage, type SmartImageConfig } from "./core/config.js";
export { imageProxy } from "./core/image-proxy.js";
export type { SmartImageElement, SmartImageEventMap } from "./element/smart-image.js";
export { type UsedImage, type UseImageOptions, useImage } from "./use-image.js";
