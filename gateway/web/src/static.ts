/** Entry of the files that the gateway serves: defines the element and uses the serving gateway by default. */
import { config } from "./core/config.js";
import { defineSmartImage } from "./element/define-element.js";

config.baseUrl ??= new URL(/* @vite-ignore */ "..", import.meta.url).href;
try {
  // Only this part: markup must not choose where tokens go.
  const { variants } = JSON.parse(document.querySelector("script#smart-image-config")?.textContent ?? "{}");
  if (variants) config.variants ??= variants;
} catch (error) {
  reportError(error);
}
defineSmartImage();

export { configureSmartImage } from "./core/config.js";
export { imageProxy } from "./core/image-proxy.js";
export { SmartImageElement } from "./element/smart-image.js";
