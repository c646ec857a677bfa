/** The core without the element; the budget test measures it. */
export { proxyAddress } from "./core/addresses.js";
export { configureSmartImage } from "./core/config.js";
export { gatewayAt, imageProxy } from "./core/image-proxy.js";
export { createLoader } from "./core/loader.js";
export { reportTo } from "./core/reporting.js";
