/** Entry of the files that the gateway serves: defines the element and uses the serving gateway by default. */
import { config } from "./core/config.js";
import { defineSmartImage } from "./element/define-element.js";

config.baseUrl ??= new URL(/* @vite-ignore */ "..", import.meta.url).href;
defineSmartImage();
// Only this part: markup must not choose where tokens go. Elements read it later.
config.variants = JSON.parse(document.querySelector("script#smart-image-config")?.textContent || "{}").variants;

export { configureSmartImage } from "./core/config.js";
export { imageProxy } from "./core/image-proxy.js";
export { SmartImageElement } from "./element/smart-image.js";
