import type { Source } from "../core/loader.js";
import { abortable } from "../core/sleep.js";
import { isCut } from "../core/timing.js";

/** Set the source of `img`. Wrap it in a `<picture>` if needed, and replace the `<source>`s. */
export function applySource(img: HTMLImageElement, { url, candidates = [] }: Source, sizes: string): void {
  // WebKit does not request an address again that has failed in this <img>, unless the source is removed before.
  if (url && !img.naturalWidth) clearSource(img);
  if (candidates[1] && !img.closest("picture")) {
    const picture = document.createElement("picture");
    img.replaceWith(picture);
    picture.append(img);
  }
  // WebKit chooses after each step: what is new comes before what is removed.
  const old = sourcesOf(img);
  for (const { type, srcset } of candidates) {
    const target = type ? document.createElement("source") : img;
    Object.assign(target, { ...(type && { type }), sizes, srcset });
    if (type) (old[0] ?? img).before(target);
  }
  img.src = url;
  for (const source of old) source.remove();
  if (!candidates[0]) clearCandidates(img);
}

/** Remove the source of `img`. */
export function clearSource(img: HTMLImageElement): void {
  img.removeAttribute("src");
  clearCandidates(img);
}

function clearCandidates(img: HTMLImageElement): void {
  for (const source of sourcesOf(img)) source.remove();
  for (const name of ["srcset", "sizes"]) img.removeAttribute(name);
}

function sourcesOf(img: HTMLImageElement): Element[] {
  return [...(img.closest("picture")?.querySelectorAll("source") ?? [])];
}

/** Wait for the load of `img`; return whether it could be loaded. */
export function settled(img: HTMLImageElement, signal: AbortSignal): Promise<boolean> {
  return abortable<boolean>(signal, (resolve) => {
    const done = new AbortController();
    for (const type of ["load", "error"])
      img.addEventListener(type, () => resolve(type === "load" && isWhole(img)), done);
    return () => done.abort();
  });
}

/** Whether the bytes of an `<img>` that has been loaded are complete, as far as the browser tells. */
export function isWhole(img: HTMLImageElement): boolean | Promise<boolean> {
  if (isCut(img.currentSrc)) return false;
  // Firefox fires `load` for the beginning of a WebP. An SVG may have no size.
  return (
    img.naturalWidth > 0 ||
    img.decode().then(
      () => true,
      () => false,
    )
  );
}
