/** Addresses of images, for scripts, templates and servers that need nothing else. */
export { type Candidates, candidates, isImageId, proxyAddress, type VariantOptions } from "./core/addresses.js";
