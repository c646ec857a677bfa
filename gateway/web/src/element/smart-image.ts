import type { FailureKind, LoadFailure } from "../core/failure.js";
import { createLoader, type LoadState } from "../core/loader.js";
import { reportTo } from "../core/reporting.js";
import {
  type AttributeProperties,
  HANDED_ON,
  OBSERVED,
  reflectAttributes,
  SUBJECT,
  takeEarlyProperties,
} from "./attributes.js";
import { createOverlay } from "./overlay.js";
import { createView } from "./picture-view.js";
import { stylePictures } from "./styles.js";
import { whenNear } from "./viewport.js";

/** Events of the element; none of them bubbles. */
export interface SmartImageEventMap {
  load: Event;
  error: Event;
  retry: CustomEvent<{ attempt: number; delay: number; reason: FailureKind }>;
  recover: CustomEvent<{ attempts: number; outage: number }>;
  statechange: CustomEvent<{ from: LoadState; to: LoadState }>;
}

type Listening = <K extends keyof SmartImageEventMap>(
  type: K,
  listener: (event: SmartImageEventMap[K]) => unknown,
  options?: boolean | AddEventListenerOptions,
) => void;

interface TypedEvents {
  addEventListener: Listening;
  removeEventListener: Listening;
}

// HTMLElement is missing on servers, which import this module to render pages.
const Base = (globalThis.HTMLElement ?? class {}) as new () => TypedEvents & HTMLElement & AttributeProperties;

/** `<smart-image>`: displays an image of the gateway in its child `<img>`, and handles failures. */
export class SmartImageElement extends Base {
  static readonly observedAttributes = OBSERVED;
  readonly #view = createView(
    this,
    createOverlay(this, () => this.reload()),
    this.attachInternals().states,
  );
  readonly #loader = createLoader(this.#view);
  #isScheduled: boolean | undefined;
  #hadId: boolean | undefined;
  #stopWatching: (() => void) | undefined;

  get state(): LoadState {
    return this.#loader?.state ?? "idle";
  }
  get attempt(): number {
    return this.#loader.attempt;
  }
  /** Expiry of the presigned URL in use, in Unix seconds; null for a permanent address. */
  get expiresAt(): number | null {
    return this.#loader.ends;
  }
  get lastError(): LoadFailure | null {
    return this.#loader.lastError;
  }
  get currentSrc(): string {
    return this.#view.img().currentSrc;
  }
  /** Whether no load is in progress. */
  get complete(): boolean {
    return !/loading|offline|retrying/.test(this.state);
  }
  get naturalWidth(): number {
    return this.#view.img().naturalWidth;
  }
  get naturalHeight(): number {
    return this.#view.img().naturalHeight;
  }
  /** Whether the load waits until the element is near the viewport. */
  get isLazy(): boolean {
    return !this.priority && (this.lazy || this.loading === "lazy");
  }

  connectedCallback(): void {
    takeEarlyProperties(this as object as Record<string, unknown>);
    stylePictures(this.getRootNode());
    this.#schedule();
  }

  disconnectedCallback(): void {
    // A move within the document disconnects and reconnects: decide in a microtask.
    this.#schedule();
  }

  connectedMoveCallback(): void {}

  attributeChangedCallback(): void {
    this.#schedule();
  }

  /** Load the image again; `fresh` bypasses caches. */
  reload(options?: { fresh?: boolean }): void {
    const id = this.imageId || null;
    const img = this.#view.img();
    // The source of the <img> is the page's only if no id has chosen it.
    this.#hadId ||= !!id;
    const src = this.src ?? (this.#hadId ? null : img.getAttribute("src") || words(img.srcset)?.[0]) ?? null;
    if (!id && !src) {
      this.#leave();
      return;
    }
    this.#stop();
    this.#loader.start({
      id,
      src,
      viaUrl: !!id && this.#viaUrl,
      base: this.baseUrl,
      variant: { style: this.styleName, ratio: this.ratio, version: this.version, link: this.link },
      widths: words(this.widths)?.map(Number),
      formats: words(this.formats),
      isSizeless: this.placeholder === "blur" || this.#view.box().includes(0),
      retry: { max: this.maxRetries, delay: this.retryDelay, maxDelay: this.retryMaxDelay },
      timeout: this.timeout,
      fallback: this.fallbackSrc,
      report: reportTo(this.monitor),
      fresh: !!options?.fresh,
    });
  }

  /** Wait until the image is loaded and decoded. Rejects with the failure. */
  async decode(): Promise<void> {
    while (this.state !== "loaded") {
      if (/failed|fallback/.test(this.state)) throw this.lastError;
      await new Promise((resolve) => this.addEventListener("statechange", resolve, { once: true }));
    }
    await this.#view.img().decode();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (this.isConnected) this.#update();
      else this.#leave();
    });
  }

  #leave(): void {
    if (this.state === "loaded" && !this.isConnected) {
      this.#view.redraw(); // it may come back, and the load still guards its image
      return;
    }
    this.#stop();
    this.#view.select(this.#view.subject && "");
    this.#loader.become("idle");
  }

  #stop(): void {
    this.#stopWatching?.();
    this.#loader.stop();
  }

  #update(): void {
    const view = this.#view;
    const img = view.img();
    for (const name of HANDED_ON) {
      const value = this.getAttribute(name);
      if (value !== null && img.getAttribute(name) !== value) img.setAttribute(name, value);
    }
    const priority = this.priority ? "high" : this.fetchPriority;
    if (priority) img.setAttribute("fetchpriority", priority);
    const subject = JSON.stringify([...SUBJECT, "use-proxy"].map((name) => this.getAttribute(name)));
    const isChanged = subject !== view.subject;
    let isGiven: boolean | undefined;
    if (isChanged) {
      this.#stop();
      // Later sources are those of earlier loads, perhaps of another image.
      isGiven = view.subject === undefined && !!(img.src || img.srcset) && !this.#viaUrl;
      view.select(subject, isGiven);
    }
    view.redraw();
    if (!isChanged) return;
    if (isGiven || !this.isLazy) {
      this.reload();
    } else {
      this.#loader.become("idle");
      this.#stopWatching = whenNear(this, () => this.reload());
    }
  }

  get #viaUrl(): boolean {
    return this.hasAttribute("use-proxy") ? !this.useProxy : this.mode === "url";
  }
}

reflectAttributes(SmartImageElement.prototype);

function words(list: string | null): string[] | null | undefined {
  return list?.match(/[^\s,]+/g);
}
