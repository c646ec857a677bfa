/** The Vue 3 package: the element as a component, and the core as composables. */
import type { App, Plugin } from "vue";
import { configureSmartImage, type SmartImageConfig } from "./core/config.js";
import "./element/tag-types.js";
import { SmartImage } from "./vue/smart-image.js";

/** The plugin: `app.use(createSmartImage({baseUrl: "https://img.example.com"}))` makes `<SmartImage>` known everywhere. */
export function createSmartImage(options: SmartImageConfig = {}): Plugin {
  return {
    install(app: App) {
      configureSmartImage(options);
      app.component("SmartImage", SmartImage);
    },
  };
}

export type { ImageMeta, ImageUrl } from "./core/api.js";
export { configureSmartImage, type SmartImageConfig } from "./core/config.js";
export type { FailureKind, LoadFailure } from "./core/failure.js";
export { imageProxy } from "./core/image-proxy.js";
export type { LoadState } from "./core/loader.js";
export type { SmartImageElement } from "./element/smart-image.js";
export { type UsedImage, type UseImageOptions, useImage } from "./use-image.js";
export { useImageCache, useImageMonitoring, useImageRetry, useSmartImage } from "./vue/composables.js";
export { SmartImage, type SmartImageSlotProps } from "./vue/smart-image.js";

declare module "vue" {
  interface GlobalComponents {
    SmartImage: typeof SmartImage;
  }
}
