import { SmartImageElement } from "./smart-image.js";

declare global {
  interface HTMLElementTagNameMap {
    "smart-image": SmartImageElement;
  }
}

/** Define `<smart-image>`, unless it is; does nothing where there are no elements, as on a server. */
export function defineSmartImage(): void {
  if (globalThis.customElements && !customElements.get("smart-image")) {
    customElements.define("smart-image", SmartImageElement);
  }
}
