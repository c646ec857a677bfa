import { SmartImageElement } from "./smart-image.js";

/** Define `<smart-image>` once. Does nothing on servers, which have no custom elements. */
export function defineSmartImage(): void {
  if (globalThis.customElements && !customElements.get("smart-image")) {
    customElements.define("smart-image", SmartImageElement);
  }
}
