import type { Candidates } from "../core/addresses.js";
import { ImageLoadError, kindOf } from "../core/failure.js";
import type { Gateway } from "../core/gateway.js";
import type { BytesSource } from "../core/monitor.js";
import { abortable } from "../core/sleep.js";

/** Source of an `<img>`, and of the `<picture>` around it if there are several formats. */
export interface PictureSource {
  address: string;
  candidates: readonly Candidates[];
  sizes: string;
}

/** Set the source of `img`. Wrap it in a `<picture>` if needed, and replace the `<source>`s. */
export function applySource(img: HTMLImageElement, { address, candidates, sizes }: PictureSource): void {
  if (!(img.parentElement instanceof HTMLPictureElement) && candidates.length > 1) {
    const picture = document.createElement("picture");
    img.replaceWith(picture);
    picture.append(img);
  }
  clearCandidates(img);
  for (const { type, srcset } of candidates) {
    const target = type ? document.createElement("source") : img;
    target.sizes = sizes;
    target.srcset = srcset;
    if (type) {
      (target as HTMLSourceElement).type = type;
      img.before(target);
    }
  }
  img.src = address;
}

/** Remove the source of `img`. */
export function clearSource(img: HTMLImageElement): void {
  clearCandidates(img);
  img.removeAttribute("src");
}

function clearCandidates(img: HTMLImageElement): void {
  const { parentElement } = img;
  if (parentElement instanceof HTMLPictureElement)
    for (const old of parentElement.querySelectorAll("source")) old.remove();
  img.removeAttribute("srcset");
  img.removeAttribute("sizes");
}

/** Make a detached image of the same source and size, so that it can be decoded before it is displayed. */
export function detachedCopy(img: HTMLImageElement, source: PictureSource): HTMLImageElement {
  const copy = new Image();
  copy.crossOrigin = img.crossOrigin;
  copy.referrerPolicy = img.referrerPolicy;
  applySource(copy, { ...source, sizes: `${img.clientWidth || innerWidth}px` });
  return copy;
}

/**
 * Wait for the load of `img`; rejects with the failure. On abort the source is removed if `mayClear`, which ends the
 * transfer: otherwise Chromium lets the next attempt join a transfer that hangs.
 */
export function settled(
  img: HTMLImageElement,
  gateway: Gateway,
  asksGateway: boolean,
  signal: AbortSignal,
  mayClear = true,
): Promise<void> {
  const began = performance.now();
  return abortable<void>(signal, (resolve, reject) => {
    const loaded = () => resolve();
    const failed = () => diagnosed(img.currentSrc || img.src, began, gateway, asksGateway, signal).then(reject, reject);
    img.addEventListener("load", loaded);
    img.addEventListener("error", failed);
    return () => {
      img.removeEventListener("load", loaded);
      img.removeEventListener("error", failed);
      // Chromium never frees an <img> whose source is removed while it is out of the document.
      if (signal.aborted && mayClear && img.isConnected) clearSource(img);
    };
  });
}

/** Find out why an address failed: from Resource Timing, else by HEAD if it is an address of the gateway. */
export async function diagnosed(
  address: string,
  since: number,
  gateway: Gateway,
  asksGateway: boolean,
  signal: AbortSignal,
): Promise<ImageLoadError> {
  const { origin } = new URL(address, document.baseURI);
  const entry = timingOf(address, since);
  const status = entry?.responseStatus ?? 0;
  // For the page's own origin the status is never hidden: 0 means no answer.
  const told = status || (entry && origin === location.origin);
  if (!told && !asksGateway) return new ImageLoadError("network");
  // Resource Timing has no Retry-After.
  if (told && status !== 503 && status !== 429) return new ImageLoadError(kindOf(status), status || null);
  if (!asksGateway) return new ImageLoadError(kindOf(status), status);
  const failure = await gateway.diagnose(address, signal);
  return failure.kind === "network" && status ? new ImageLoadError(kindOf(status), status) : failure;
}

/** Return whether the bytes came over the network, if the browser tells. */
export function bytesSourceOf(img: HTMLImageElement): BytesSource {
  const entry = timingOf(img.currentSrc, 0);
  if (!entry?.decodedBodySize) return "unknown";
  return entry.transferSize ? "network" : "cache";
}

function timingOf(address: string, since: number): PerformanceResourceTiming | undefined {
  const entries = performance.getEntriesByName(address, "resource") as PerformanceResourceTiming[];
  // 50 ms of tolerance: a fetch may start before the call.
  return entries.findLast((entry) => entry.startTime >= since - 50 || !since);
}
