import { watchForHints } from "#hints";
import { calls } from "../core/api-at.js";
import { guarding } from "./picture-view.js";
import { SmartImageElement } from "./smart-image.js";

const MINUTE = 60_000;

/**
 * Define `<smart-image>` once, and return whether it is defined. Servers have no custom elements. Browsers before Chrome 116,
 * Firefox 124 and Safari 17.4 lack a feature: there the page's own `<img>` stays as it is.
 */
export function defineSmartImage(): boolean {
  const isSupported =
    globalThis.customElements &&
    "any" in AbortSignal &&
    "attachInternals" in HTMLElement.prototype &&
    "replaceSync" in CSSStyleSheet.prototype;
  if (isSupported && !customElements.get("smart-image")) {
    customElements.define("smart-image", SmartImageElement);
    watchForHints();
    // A page may be open when the server gets another version, which has no such files any more.
    for (const load of [calls, guarding]) setTimeout(() => load().catch(() => undefined), MINUTE);
  }
  return isSupported;
}
