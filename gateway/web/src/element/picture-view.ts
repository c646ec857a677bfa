import { boxOf, sizesOf } from "../core/addresses.js";
import type { ImageMeta } from "../core/api.js";
import type { Broken, LoaderView, Source } from "../core/loader.js";
import { onDemand } from "../core/on-demand.js";
import type { Overlay } from "./overlay.js";
import { applySource, clearSource, isWhole, settled } from "./picture.js";
import type { SmartImageElement } from "./smart-image.js";

/** Displays the image in the element's `<img>` and dispatches the element's events. */
export interface PictureView extends LoaderView {
  /** The attributes that select the image, as one string; empty if there is none, undefined before the first one. */
  readonly subject: string | undefined;
  /** The `<img>`: the page's own, else a new one. */
  img(): HTMLImageElement;
  /** Select another image. `isGiven`: the page has set the source of the `<img>`, so that it is loading already. */
  select(subject: string | undefined, isGiven?: boolean): void;
  /** Width and height in CSS pixels, 0 if unknown: of the element, else of the page's `<img>`, else of the metadata. */
  box(): [number, number];
  /** Update the reserved space, the placeholder and the overlay. */
  redraw(): void;
}

/** Make the view of `host`. */
export function createView(host: SmartImageElement, overlay: Overlay, states: CustomStateSet | undefined): PictureView {
  let subject: string | undefined;
  /** The subject of the displayed image; empty if none is displayed. */
  let shown: string | undefined = "";
  let isGiven: boolean | undefined;
  let meta: ImageMeta | undefined;
  let current: HTMLImageElement | undefined;
  /** Whether the lazy `<img>` is eager while the element is out of the page. */
  let isAway: boolean | undefined;
  /** Width and height that the page gave its `<img>`. */
  let given = [0, 0];

  function img(): HTMLImageElement {
    if (!current || !host.contains(current)) {
      current = host.querySelector<HTMLImageElement>("img:not(:scope>[slot],:scope>[slot] *)") ?? new Image();
      given = ["width", "height"].map((name) => Number(current?.getAttribute(name)) || 0);
      if (!current.isConnected) host.append(current);
    }
    return current;
  }

  function box(): [number, number] {
    img();
    const { ratio } = host;
    const [width, height] = boxOf(host.width || given[0], host.height || given[1], ratio);
    return boxOf(width || meta?.width, height || (ratio ? 0 : meta?.height), ratio);
  }

  function redraw(): void {
    const [width, height] = box();
    const target = img();
    if (width && height && host.isConnected) Object.assign(target, { width, height });
    if (isAway && host.isConnected) {
      target.loading = "lazy";
      isAway = false;
    } else if (!host.isConnected && target.loading === "lazy" && /^auto/.test(target.sizes)) {
      // Chromium keeps such an <img> for ever, and all that hangs on it.
      isAway = !!shown;
      if (isAway) target.loading = "eager";
      else applySource(target, { url: "" }, "");
    }
    const placeholder = host.placeholder?.replace(/^blur$/, "") || meta?.placeholder || "";
    overlay.reserve(width, height, placeholder, meta?.color ?? "");
    overlay.show(host.state, host.lastError?.kind, !!shown, target.getAttribute("alt"));
  }

  /** Remove the displayed image. */
  function clear(): void {
    clearSource(img());
    shown = "";
    redraw();
  }

  function tell(type: string, detail?: object): void {
    host.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Load the source, if any, into `target`, and wait; return whether it could be loaded. */
  async function put(target: HTMLImageElement, signal: AbortSignal, source?: Source, sizes = ""): Promise<boolean> {
    try {
      const done = settled(target, signal);
      if (source) applySource(target, source, sizes);
      return await done;
    } catch (reason) {
      // This ends the transfer: otherwise Chromium lets the next attempt join one that hangs. But Chromium never frees
      // an <img> whose source is removed while it is out of the document; one whose source becomes empty it does.
      if (target !== current) applySource(target, { url: "" }, "");
      else if (!shown && target.isConnected) clearSource(target);
      throw reason;
    }
  }

  return {
    get subject() {
      return subject;
    },
    get isGiven() {
      return isGiven;
    },
    get isDeferred() {
      const target = img();
      const { x, y, right, bottom } = target.getBoundingClientRect();
      return target.loading === "lazy" && (right < 1 || bottom < 1 || x > innerWidth || y > innerHeight);
    },
    img,
    box,
    redraw,
    tell,
    select(wanted, isWantedGiven) {
      subject = wanted;
      isGiven = isWantedGiven;
      meta = undefined;
      // The element may be idle already, so that no state changes.
      if (subject === "" && (shown || img().src) && host.isConnected) clear();
    },
    async show(source, signal) {
      const target = img();
      const wasGiven = isGiven;
      isGiven = false;
      const { isLazy } = host;
      const sizes = sizesOf(host.sizes, box()[0], isLazy);
      if (shown || source.isRefetched) {
        const load = (copy: HTMLImageElement, fixed: string) => put(copy, signal, source, fixed);
        const { preload } = await guarding();
        const broken = await preload(target, load, sizes, signal, source.isRefetched, shown === subject);
        if (broken) return [broken, performance.now()];
      }
      // `sizes=auto` needs it. Otherwise it would only delay: the element has waited until it is near the viewport.
      if (isLazy && source.candidates?.[0]) target.loading = "lazy";
      const isLoaded =
        wasGiven && target.complete
          ? await isWhole(target)
          : await put(target, signal, wasGiven ? undefined : source, sizes);
      if (!isLoaded) {
        const broken: Broken = [target.currentSrc || target.src, performance.now()];
        // Browsers draw a sign and the text for it, which need space.
        if (!target.naturalWidth) clearSource(target);
        return broken;
      }
      shown = subject;
      return;
    },
    async guard(address, signal, passed) {
      const target = img();
      if (!target.srcset && !target.closest("picture")) return false;
      const begin = (): ReturnType<typeof guarding> => guarding().catch(() => passed().then(begin));
      const { guard } = await begin();
      await guard(target, signal, settled, passed, address);
      shown = "";
      return true;
    },
    described(found) {
      meta = found;
      redraw();
    },
    withdraw(isRefused) {
      if (isRefused || shown !== subject) clear();
    },
    changed(from, to) {
      states?.delete(from);
      states?.add(to);
      redraw();
      tell("statechange", { from, to });
    },
  };
}

/** Load what keeps displayed images. */
export const guarding = onDemand(() => import("./guard.js"));
