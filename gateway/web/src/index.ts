/** The core and the class of the element. `./define` defines the element; this module has no side effects. */
export { type Candidates, candidates, isImageId, proxyAddress, type VariantOptions } from "./core/addresses.js";
export type { ImageMeta, ImageUrl } from "./core/api.js";
export type { BatchOptions } from "./core/batch.js";
export { type CacheOptions, type CacheStats, createCache, type ImageCache } from "./core/cache.js";
export { configureSmartImage, type Link, type MonitorOptions, type SmartImageConfig } from "./core/config.js";
export { type FailureKind, ImageLoadError, type LoadFailure } from "./core/failure.js";
export { imageProxy } from "./core/image-proxy.js";
export type { LoadState } from "./core/loader.js";
export { type Beacon, type LoadReport, Monitor } from "./core/monitor.js";
export { backoff, Retrier, type RetryOptions } from "./core/retry.js";
export { SmartImageElement } from "./element/smart-image.js";
export { type UsedImage, type UseImageOptions, useImage } from "./use-image.js";
