/** Importing this defines `<smart-image>`, for TypeScript too. */
import { defineSmartImage } from "./element/define-element.js";

defineSmartImage();

export type { SmartImageAttributes } from "./element/attributes.js";
export { SmartImageElement, type SmartImageEventMap } from "./element/smart-image.js";
export type { SmartImageListeners } from "./element/tag-types.js";
