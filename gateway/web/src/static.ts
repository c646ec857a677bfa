/** What the gateway serves: the element, defined, with the gateway that served it as its own. */
import { config } from "./core/config.js";
import { defineSmartImage } from "./element/define-element.js";

config.baseUrl ??= new URL(/* @vite-ignore */ "..", import.meta.url).href;
defineSmartImage();

export { configureSmartImage } from "./core/config.js";
export { gatewayAt, imageProxy } from "./core/gateway.js";
export { SmartImageElement } from "./element/smart-image.js";
