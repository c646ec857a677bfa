/**
 * Loaded when an image with candidates is displayed, or another one replaces it. Nothing is imported: properties of the
 * other modules have shorter names in the served file.
 */

/** Waits for the next `load` or `error` of an image; returns whether it was loaded. */
type Settled = (img: HTMLImageElement, signal: AbortSignal) => Promise<boolean>;

// Longer than it takes the browser to choose, at once and when it is slow.
const CHECKS = [50, 1000];

/** Addresses that could be loaded last. */
const loaded = new WeakMap<HTMLImageElement, string>();

/**
 * Keep what `img` displays on the screen. When the viewport changes, the browser chooses again from the candidates, also
 * while the network is down. What cannot be loaded is replaced by what was displayed before, until `passed` returns. Return
 * if nothing is displayed any more.
 */
export async function guard(
  img: HTMLImageElement,
  signal: AbortSignal,
  settled: Settled,
  passed: () => Promise<void>,
): Promise<void> {
  watchViewport(new WeakRef(img));
  for (;;) {
    do loaded.set(img, img.currentSrc);
    while (await settled(img, signal));
    const good = loaded.get(img) as string;
    if (img.currentSrc === good) return;
    const release = pin(img, good);
    if (!(await settled(img, signal))) return;
    await passed();
    release();
  }
}

/** Chromium fires no event if it cannot load what it chose for another viewport: fire it. The image may be collected. */
function watchViewport(held: WeakRef<HTMLImageElement>): void {
  const check = () => {
    const img = held.deref();
    if (!img) return removeEventListener("resize", resized);
    const chosen = img.currentSrc;
    if (chosen === loaded.get(img)) return;
    img.decode().catch(() => {
      if (img.currentSrc === chosen && !img.naturalWidth) img.dispatchEvent(new Event("error"));
    });
  };
  const resized = () => {
    for (const delay of CHECKS) setTimeout(check, delay);
  };
  addEventListener("resize", resized);
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
 * address that could not be loaded. `isRefetched`: also if the browser's cache has it. `isSame`: `img` displays it.
 */
export async function preload(
  img: HTMLImageElement,
  load: (copy: HTMLImageElement) => Promise<boolean>,
  signal: AbortSignal,
  isRefetched: boolean | undefined,
  isSame: boolean,
): Promise<string> {
  const copy = new Image();
  copy.crossOrigin = img.crossOrigin;
  copy.referrerPolicy = img.referrerPolicy;
  if (isRefetched) {
    if (!isSame) await load(copy); // the browser chooses an address
    await refetch(isSame ? img : copy, signal);
  }
  if (!(await load(copy))) return copy.currentSrc || copy.src;
  await copy.decode().catch(() => undefined);
  signal.throwIfAborted();
  return "";
}

/** Replace what the browser's cache has at the address of `img`, perhaps for a year, by a request as that of `img`. */
async function refetch({ crossOrigin, currentSrc, src }: HTMLImageElement, signal: AbortSignal): Promise<void> {
  const credentials = crossOrigin === "anonymous" ? "same-origin" : "include";
  const mode = crossOrigin === null ? "no-cors" : "cors";
  // The load that follows tells what is wrong.
  await fetch(currentSrc || src, { cache: "reload", mode, credentials, signal })
    .then((answer) => answer.blob())
    .catch(() => signal.throwIfAborted());
}
