import type { Candidates } from "../core/addresses.js";
import { ImageLoadError, kindOf } from "../core/failure.js";
import type { Gateway } from "../core/gateway.js";
import type { BytesSource } from "../core/monitor.js";
import { abortable } from "../core/sleep.js";

/** What an `<img>`, and the `<picture>` around it if there are several formats, is to show. */
export interface PictureSource {
  address: string;
  candidates: readonly Candidates[];
  sizes: string;
}

/** Make `img` show the source. Its `<picture>` is made when it is needed, and its `<source>`s are made anew. */
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

/** Make `img` show nothing. */
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

/** An image of its own that shows the same source, as large as `img` is: to have it decoded before it is shown. */
export function detachedCopy(img: HTMLImageElement, source: PictureSource): HTMLImageElement {
  const copy = new Image();
  copy.crossOrigin = img.crossOrigin;
  copy.referrerPolicy = img.referrerPolicy;
  applySource(copy, { ...source, sizes: `${img.clientWidth || innerWidth}px` });
  return copy;
}

/**
 * Wait until `img` has loaded what it shows; rejects with why it has not. When `signal` is aborted before, the transfer
 * ends if `mayClear`: a browser would let the next attempt join one that hangs.
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
    const failed = () => diagnosed(img.currentSrc || img.src, began, gateway, asksGateway).then(reject, reject);
    img.addEventListener("load", loaded);
    img.addEventListener("error", failed);
    return () => {
      img.removeEventListener("load", loaded);
      img.removeEventListener("error", failed);
      if (signal.aborted && mayClear) clearSource(img);
    };
  });
}

/** Why an address failed: as the browser tells, else by one HEAD where that may be asked. */
export async function diagnosed(
  address: string,
  since: number,
  gateway: Gateway,
  asksGateway: boolean,
): Promise<ImageLoadError> {
  const { origin } = new URL(address, document.baseURI);
  const entry = timingOf(address, since);
  const status = entry?.responseStatus ?? 0;
  // A status of 0 from the page's own origin is no secret: there was no answer.
  const told = status || (entry && origin === location.origin);
  if (!told && !asksGateway) return new ImageLoadError("network");
  // Retry-After is told by no timing entry.
  if (told && status !== 503 && status !== 429) return new ImageLoadError(kindOf(status), status || null);
  if (!asksGateway) return new ImageLoadError(kindOf(status), status);
  const failure = await gateway.diagnose(address);
  return failure.kind === "network" && status ? new ImageLoadError(kindOf(status), status) : failure;
}

/** Whether the bytes came over the network, as far as the browser tells. */
export function bytesSourceOf(img: HTMLImageElement): BytesSource {
  const entry = timingOf(img.currentSrc, 0);
  if (!entry?.decodedBodySize) return "unknown";
  return entry.transferSize ? "network" : "cache";
}

function timingOf(address: string, since: number): PerformanceResourceTiming | undefined {
  const entries = performance.getEntriesByName(address, "resource") as PerformanceResourceTiming[];
  // Some ms of grace: a fetch may begin before its element is looked at.
  return entries.findLast((entry) => entry.startTime >= since - 50 || !since);
}
