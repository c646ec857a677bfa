import { calls } from "../core/api-at.js";
import { config } from "../core/config.js";
import { actionFor, type FailureKind } from "../core/failure.js";
import type { LoadState } from "../core/loader.js";
import { overlayStyles, sheet, styleFailures } from "./styles.js";

/** The shadow tree: placeholder, spinner, message and retry button. */
export interface Overlay {
  /** Show the parts for a state. A displayed image (`hasPicture`) is never covered. `alt`: its text. */
  show(...shown: Shown): void;
  /**
   * Reserve space of `width` by `height` CSS pixels (0 if unknown), so that the layout does not shift, and fill it with
   * the placeholder: a colour, or the address of a small image, above `color`.
   */
  reserve(width: number, height: number, placeholder: string, color: string): void;
}

/** Words, and how they look and are announced, from the first failure of the page on. */
let words: Awaited<ReturnType<typeof calls>> | undefined;

type Shown = [state: LoadState, kind: FailureKind | undefined, hasPicture: boolean, alt: string | null];

/** Attach a shadow tree to `host`. */
export function createOverlay(host: HTMLElement, retry: () => void): Overlay {
  const placeholder = make("div", "placeholder", make("slot", "placeholder"));
  const loadingSlot = make("slot", "loading", make("i", "spinner"));
  const text = make("span", "message");
  const errorSlot = make("slot", "error", text);
  const button = make("button", "retry-button");
  const retrySlot = make("slot", "retry", button);
  const overlay = make("section", "overlay", loadingSlot, errorSlot, retrySlot);
  const own = sheet("");
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [overlayStyles(), own];
  root.append(placeholder, document.createElement("slot"), overlay);
  retrySlot.addEventListener("click", retry);
  text.dir = button.dir = "auto";
  let shown: Shown;

  function show(...now: Shown): void {
    shown = now;
    const [state, kind, hasPicture, alt] = now;
    const failed = state === "failed" && kind;
    const key = !hasPicture && (failed || (/offline|retrying/.test(state) && (state as "offline")));
    placeholder.hidden = hasPicture;
    loadingSlot.hidden = hasPicture || !/loading|retrying/.test(state);
    errorSlot.hidden = !key;
    // While it is tried again, a button that has the focus stays. Then the focus goes to the picture.
    const hasFocus = retrySlot.matches(":focus-within");
    retrySlot.hidden = hasPicture || !(failed ? actionFor(failed, false) === "retry" : hasFocus);
    if (hasFocus && retrySlot.hidden) {
      host.setAttribute("tabindex", `${host.tabIndex}`); // -1 unless the page has set it
      host.focus();
    }
    // A text of the page's own may be larger.
    const isCover = key || !retrySlot.hidden;
    overlay.className = isCover ? (errorSlot.assignedNodes()[0] ? "cover" : "cover own") : "";
    if (isCover && !words) {
      calls().then(
        (loaded) => {
          if (!words) styleFailures(loaded.FAILURE_STYLES);
          words = loaded;
          show(...shown);
        },
        () => undefined, // the signs tell it, too
      );
    }
    text.textContent = key ? "⚠" : "";
    button.textContent = "↻";
    words?.write(host, text, button, key, !!failed, alt, config.messages);
  }

  return {
    show,
    reserve(width, height, placeholder, color) {
      const box = width && height && `width:${width}px;aspect-ratio:${width}/${height};grid-template:100%/100%;`;
      const isImage = placeholder && !CSS.supports("color", placeholder);
      // JSON quotes as CSS does. A Content Security Policy may forbid data URLs: then the colour is seen.
      const fill = isImage ? `url(${JSON.stringify(placeholder)}) 50%/cover ${color}` : placeholder || color;
      own.replaceSync(`:host{${box || ""}${fill && `--_fill:${fill}`}}`);
    },
  };
}

/** Make a slot with that name, or another element that is the part of that name, if any. */
function make<K extends "div" | "section" | "i" | "span" | "slot" | "button">(
  tag: K,
  name: string,
  ...children: Element[]
): HTMLElementTagNameMap[K] {
  const made: HTMLElement = document.createElement(tag);
  made.setAttribute(tag === "slot" ? "name" : "part", name);
  made.append(...children);
  return made as HTMLElementTagNameMap[K];
}
