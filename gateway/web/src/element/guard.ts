/**
 * Loaded when an image with candidates is displayed, or another one replaces it. Nothing is imported: properties of the
 * other modules have shorter names in the served file.
 */

import type { SmartImageElement } from "./smart-image.js";

/** Waits for the next `load` or `error` of an image; returns whether it was loaded. */
type Settled = (img: HTMLImageElement, signal: AbortSignal) => Promise<boolean>;

// ms; longer than it takes the browser to choose, at once and when it is slow.
const QUICK = 50;
const SLOW = 1000;
// How often in a row the browser may choose again in vain before it does so rarely: what it chooses may be refused.
const CHOICES = 3;
const MINUTE = 60_000;
const MOST_DOUBLED = 5;

/** Addresses that could be loaded last. */
const loaded = new WeakMap<HTMLImageElement, string>();

let timer: ReturnType<typeof setTimeout> | undefined;

/** Images that are displayed; each may be collected. */
const watched = new Set<WeakRef<HTMLImageElement>>();

/**
 * Keep what `img` displays on the screen. When the viewport changes, the browser chooses again from the candidates, also
 * while the network is down. What cannot be loaded is replaced by what was displayed before, until `passed` returns; after
 * the third time in a row, for a minute and more before. Return if nothing is displayed any more. `first`: the address that
 * was displayed before this module was loaded.
 */
export async function guard(
  img: HTMLImageElement,
  signal: AbortSignal,
  settled: Settled,
  passed: () => Promise<unknown>,
  first: string,
): Promise<void> {
  if (!watched.size) addEventListener("resize", checkSoon);
  if (!loaded.has(img)) watched.add(new WeakRef(img));
  loaded.set(img, first);
  checkSoon();
  for (let choices = 0; ; choices++) {
    // An address that the browser has chosen is not loaded yet.
    while (await settled(img, signal)) {
      // Firefox may fire `load` once more for what was displayed before.
      if (loaded.get(img) !== img.currentSrc) choices = 0;
      loaded.set(img, img.currentSrc);
    }
    const good = loaded.get(img) as string;
    if (img.currentSrc === good) return;
    const release = pin(img, good);
    if (!(await settled(img, signal))) return;
    if (choices >= CHOICES) await rarely(choices - CHOICES, signal);
    await passed();
    release();
  }
}

/** Wait a minute, twice as long each further time up to half an hour, or until the load is over. */
function rarely(times: number, signal: AbortSignal): Promise<unknown> {
  return new Promise((go) => {
    setTimeout(go, MINUTE * 2 ** Math.min(times, MOST_DOUBLED));
    signal.addEventListener("abort", go);
  });
}

function checkSoon(): void {
  clearTimeout(timer);
  timer = setTimeout(check, QUICK, true);
}

/**
 * Chromium fires no event if it cannot load what it chose for another viewport: fire it. Its `decode()` never ends if it is
 * called before.
 */
function check(isFirst?: boolean): void {
  let isLoading = isFirst;
  for (const held of watched) {
    const img = held.deref();
    const chosen = img?.currentSrc;
    if (!img) watched.delete(held);
    else if (chosen === loaded.get(img)) continue;
    else if (!img.complete) isLoading = true;
    else
      img.decode().catch(() => {
        if (img.currentSrc === chosen && !img.naturalWidth) img.dispatchEvent(new Event("error"));
      });
  }
  if (isLoading) timer = setTimeout(check, SLOW);
}

/** Display `address` alone; return what undoes it. WebKit chooses after each step, so the address comes first. */
function pin(img: HTMLImageElement, address: string): () => void {
  const sources = img.closest("picture")?.querySelectorAll("source") ?? [];
  const { srcset, sizes } = img;
  const src = img.getAttribute("src");
  img.src = address;
  for (const source of sources) source.remove();
  for (const name of ["srcset", "sizes"]) img.removeAttribute(name);
  return () => {
    if (sizes) img.sizes = sizes;
    img.before(...sources);
    if (srcset) img.srcset = srcset;
    if (src) img.src = src;
    else img.removeAttribute("src");
  };
}

/**
 * Load and decode an image before it replaces what `img` displays; `load` loads it into a copy. Return an empty string, or the
 * address that could not be loaded. `isRenewed`: fetch it past the browser's cache, and let all elements of the
 * page that display the image do so. `isSame`: `img` displays it.
 */
export async function preload(
  img: HTMLImageElement,
  load: (copy: HTMLImageElement, sizes: string) => Promise<boolean>,
  sizes: string,
  signal: AbortSignal,
  isRenewed: boolean | undefined,
  isSame: boolean,
): Promise<string> {
  const copy = new Image();
  // Only in the layout `auto` has a meaning.
  const fixed = sizes.replace("auto", `${img.clientWidth || innerWidth}px`);
  copy.crossOrigin = img.crossOrigin;
  copy.referrerPolicy = img.referrerPolicy;
  if (isRenewed) {
    if (!isSame) await load(copy, fixed); // the browser chooses an address
    await refetch(isSame ? img : copy, signal);
  }
  if (!(await load(copy, fixed))) return copy.currentSrc || copy.src;
  await copy.decode().catch(() => undefined);
  signal.throwIfAborted();
  if (isRenewed) spread(img, copy.src);
  return "";
}

/** Let the other elements of the image display the same bytes, once for each fragment. */
function spread(img: HTMLImageElement, address: string): void {
  const own = img.closest<SmartImageElement>("smart-image");
  const name = (own?.imageId ?? "") + new URL(address).hash;
  if (!own || spreads.has(name)) return;
  spreads.add(name);
  for (const root of new Set([document, own.getRootNode() as ParentNode]))
    for (const other of root.querySelectorAll<SmartImageElement>("smart-image"))
      if (other !== own && other.imageId === own.imageId && other.state === "loaded") other.reload();
}

const spreads = new Set<string>();

/** Replace what the browser's cache has at the address of `img`, perhaps for a year, by a request as that of `img`. */
async function refetch({ crossOrigin, currentSrc, src }: HTMLImageElement, signal: AbortSignal): Promise<void> {
  const credentials = crossOrigin === "anonymous" ? "same-origin" : "include";
  const mode = crossOrigin === null ? "no-cors" : "cors";
  // The load that follows tells what is wrong.
  await fetch(currentSrc || src, { cache: "reload", mode, credentials, signal })
    .then((answer) => answer.blob())
    .catch(() => signal.throwIfAborted());
}
