import { type FailureKind, isTransient } from "../core/failure.js";
import type { LoadState } from "../core/loader.js";
import { languageOf, message, messageKeyOf } from "./messages.js";
import { overlayStyles, sheet } from "./styles.js";

/** The shadow tree: placeholder, spinner, message and retry button. */
export class Overlay {
  readonly #root: ShadowRoot;
  readonly #placeholder = part("div", "placeholder");
  readonly #overlay = part("div", "overlay");
  readonly #spinner = part("div", "spinner");
  readonly #message = part("div", "message");
  readonly #button = part("button", "retry-button");
  readonly #loadingSlot = slot("loading");
  readonly #errorSlot = slot("error");
  readonly #retrySlot = slot("retry");
  readonly #own = sheet("");
  #value: string | null = null;
  #box = "";
  #colour = "";
  #image: HTMLImageElement | undefined;

  constructor(
    private readonly host: HTMLElement,
    retry: () => void,
  ) {
    this.#root = host.attachShadow({ mode: "open" });
    this.#root.adoptedStyleSheets = [overlayStyles(), this.#own];
    this.#button.type = "button";
    this.#button.addEventListener("click", retry);
    this.#message.setAttribute("role", "status");
    this.#spinner.ariaHidden = "true";
    this.#placeholder.append(slot("placeholder"));
    this.#loadingSlot.append(this.#spinner);
    this.#errorSlot.append(this.#message);
    this.#retrySlot.append(this.#button);
    this.#retrySlot.addEventListener("click", (event) => event.target !== this.#button && retry());
    this.#overlay.append(this.#loadingSlot, this.#errorSlot, this.#retrySlot);
    this.#placeholder.className = "layer";
    this.#root.append(this.#placeholder, slot(), this.#overlay);
  }

  /** Show the parts for a state. A displayed image (`hasPicture`) is never covered. */
  show(state: LoadState, kind: FailureKind | null, hasPicture: boolean): void {
    const lang = languageOf(this.host);
    const failed = state === "failed";
    const waits = state === "offline" || state === "retrying";
    this.#placeholder.hidden = hasPicture;
    this.#loadingSlot.hidden = hasPicture || !(state === "loading" || state === "retrying");
    this.#errorSlot.hidden = hasPicture || !(failed || waits);
    this.#retrySlot.hidden = hasPicture || !failed || !kind || !(isTransient(kind) || kind === "decode");
    this.#overlay.hidden = hasPicture || !(failed || waits || state === "loading");
    this.#overlay.className = state === "loading" ? "layer light" : "layer";
    const key = failed && kind ? messageKeyOf(kind) : state === "offline" ? state : "retrying";
    this.#message.textContent = hasPicture || !(failed || waits) ? "" : message(key, lang);
    this.#button.textContent = message("retry", lang);
  }

  /** Set the placeholder: a colour, or the address of a small image; null for none. */
  placeholder(value: string | null): void {
    if (value === this.#value) return;
    this.#value = value;
    const isColour = !!value && CSS.supports("color", value);
    this.#colour = isColour ? `--_c:${value}` : "";
    this.#restyle();
    this.#image?.remove();
    this.#image = undefined;
    if (!value || isColour) return;
    this.#image = new Image();
    this.#image.alt = "";
    this.#image.src = value;
    this.#placeholder.prepend(this.#image);
  }

  /** Reserve space in CSS pixels, so that the layout does not shift; 0 if unknown. */
  box(width: number, height: number): void {
    this.#box =
      width > 0 && height > 0 ? `inline-size:${width}px;aspect-ratio:${width}/${height};grid-template:100%/100%;` : "";
    this.#restyle();
  }

  #restyle(): void {
    this.#own.replaceSync(`:host{${this.#box}${this.#colour}}`);
  }
}

function part<K extends keyof HTMLElementTagNameMap>(tag: K, name: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.setAttribute("part", name);
  return made;
}

function slot(name?: string): HTMLSlotElement {
  const made = document.createElement("slot");
  if (name) made.name = name;
  return made;
}
