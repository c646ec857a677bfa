/** The core alone, for the budget test and for those who build an element of their own. */
export { proxyAddress } from "./core/addresses.js";
export { configureSmartImage } from "./core/config.js";
export { gatewayAt, imageProxy } from "./core/gateway.js";
export { Loader } from "./core/loader.js";
export { reportTo } from "./core/reporting.js";
