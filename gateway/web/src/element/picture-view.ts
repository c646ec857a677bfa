import { candidates } from "../core/addresses.js";
import type { FailureKind } from "../core/failure.js";
import { gatewayAt, type ImageMeta } from "../core/gateway.js";
import type { LoaderView, LoadState, Source } from "../core/loader.js";
import type { BytesSource } from "../core/monitor.js";
import type { Overlay } from "./overlay.js";
import {
  applySource,
  bytesSourceOf,
  clearSource,
  detachedCopy,
  diagnosed,
  type PictureSource,
  settled,
} from "./picture.js";
import type { SmartImageElement } from "./smart-image.js";

/** Displays the image in the element's `<img>` and dispatches the element's events. */
export class PictureView implements LoaderView {
  meta: ImageMeta | undefined;
  /** The attributes that select the image, as one string. */
  subject = "";
  /** The subject of the displayed image; empty if none is displayed. */
  #shown = "";
  #img: HTMLImageElement | undefined;

  constructor(
    private readonly host: SmartImageElement,
    private readonly overlay: Overlay,
    private readonly states: CustomStateSet | undefined,
  ) {}

  /** The `<img>`: the page's own, else a new one. */
  get img(): HTMLImageElement {
    if (!this.#img || !this.host.contains(this.#img)) {
      this.#img = this.host.querySelector("img") ?? new Image();
      if (!this.#img.isConnected) this.host.append(this.#img);
    }
    return this.#img;
  }

  async show(source: Source, signal: AbortSignal): Promise<BytesSource> {
    const { img, host } = this;
    const gateway = gatewayAt(host.baseUrl);
    const asksGateway = source.expiresAt === null;
    const wanted = this.#pictureSource(source);
    const isGiven = host.attempt === 1 && host.state === "loading" && img.src && isSame(img, wanted);
    if (isGiven && img.complete) {
      if (!img.naturalWidth) throw await diagnosed(img.currentSrc || img.src, 0, gateway, asksGateway, signal);
    } else {
      if (this.#shown) {
        const copy = detachedCopy(img, wanted);
        await settled(copy, gateway, asksGateway, signal);
        await copy.decode().catch(() => undefined);
        signal.throwIfAborted();
      }
      if (host.isLazy && asksGateway) img.loading = "lazy";
      const done = settled(img, gateway, asksGateway, signal, !this.#shown);
      if (!isGiven) applySource(img, wanted);
      await done;
    }
    this.#shown = this.subject;
    return bytesSourceOf(img);
  }

  async showFallback(address: string, signal: AbortSignal): Promise<boolean> {
    const { img } = this;
    const done = settled(img, gatewayAt(this.host.baseUrl), false, signal);
    applySource(img, { address, candidates: [], sizes: "" });
    this.#shown = await done.then(
      () => this.subject,
      () => "",
    );
    return !!this.#shown;
  }

  described(meta: ImageMeta): void {
    this.meta = meta;
    this.refresh();
  }

  changed(from: LoadState, to: LoadState): void {
    // Remove the image of the previous id.
    if (to === "failed" && this.#shown !== this.subject) {
      clearSource(this.img);
      this.#shown = "";
    }
    this.states?.delete(from);
    this.states?.add(to);
    this.refresh();
    this.#tell("statechange", { from, to });
  }

  /** Update the reserved space, the placeholder and the overlay. */
  refresh(): void {
    const { host, meta, overlay } = this;
    const width = host.width || meta?.width || 0;
    const height = host.height || meta?.height || 0;
    if (width && height && host.isConnected) Object.assign(this.img, { width, height });
    overlay.box(width, height);
    overlay.placeholder(this.#shown ? null : (host.placeholder ?? meta?.placeholder ?? meta?.color ?? null));
    overlay.show(host.state, host.lastError?.kind ?? null, !!this.#shown);
  }

  retrying(attempt: number, delay: number, reason: FailureKind): void {
    this.#tell("retry", { attempt, delay, reason });
  }

  recovered(attempts: number, outage: number): void {
    this.#tell("recover", { attempts, outage });
  }

  loaded(): void {
    this.host.dispatchEvent(new Event("load"));
  }

  gaveUp(): void {
    this.host.dispatchEvent(new Event("error"));
  }

  #tell(type: string, detail: object): void {
    this.host.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #pictureSource({ address, variant, expiresAt }: Source): PictureSource {
    const { imageId, widths, formats, sizes, isLazy, baseUrl } = this.host;
    const style = this.meta?.styles?.[variant.style ?? ""];
    const listed = widths ? words(widths).map(Number) : (style?.widths ?? []);
    const isPlain = !imageId || expiresAt !== null || !listed.length;
    return {
      address,
      sizes: sizes ?? (isLazy ? "auto, 100vw" : "100vw"),
      candidates: isPlain
        ? []
        : candidates(
            gatewayAt(baseUrl).base,
            imageId,
            variant,
            listed,
            formats ? words(formats) : (style?.formats ?? []),
          ),
    };
  }
}

function words(list: string): string[] {
  return list.split(/[\s,]+/).filter(Boolean);
}

function isSame(img: HTMLImageElement, { address, candidates: wanted }: PictureSource): boolean {
  return img.src === new URL(address, document.baseURI).href || (wanted.length > 0 && !!img.srcset);
}
