/** Importing this defines `<smart-image>`. */
import { defineSmartImage } from "./element/define-element.js";

defineSmartImage();

export { SmartImageElement } from "./element/smart-image.js";
