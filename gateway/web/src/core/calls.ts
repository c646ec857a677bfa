/**
 * Loaded when something else than images is needed: presigned URLs, metadata, why an image failed, and words for it. Nothing is imported that
 * the served file has: properties have shorter names there.
 */
export { write } from "../element/announcer.js";
export { FAILURE_STYLES } from "../element/failure-styles.js";
export { createApi } from "./api.js";
export { createDiagnosis } from "./diagnosis.js";
