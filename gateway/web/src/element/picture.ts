import type { Source } from "../core/loader.js";
import { abortable } from "../core/sleep.js";

/** Set the source of `img`. Wrap it in a `<picture>` if needed, and replace the `<source>`s. */
export function applySource(img: HTMLImageElement, { url, candidates }: Source, sizes: string): void {
  clearCandidates(img);
  // WebKit does not request an address again that has failed in this <img>, unless the source is removed before.
  if (url && !img.naturalWidth) img.removeAttribute("src");
  if (candidates?.[1] && !img.closest("picture")) {
    const picture = document.createElement("picture");
    img.replaceWith(picture);
    picture.append(img);
  }
  for (const { type, srcset } of candidates ?? []) {
    const target = type ? document.createElement("source") : img;
    if (type) {
      img.before(target);
      target.setAttribute("type", type);
    }
    target.sizes = sizes;
    target.srcset = srcset;
  }
  img.src = url;
}

/** Remove the source of `img`. */
export function clearSource(img: HTMLImageElement): void {
  clearCandidates(img);
  img.removeAttribute("src");
}

function clearCandidates(img: HTMLImageElement): void {
  img.closest("picture")?.replaceChildren(img);
  for (const name of ["srcset", "sizes"]) img.removeAttribute(name);
}

/** Wait for the load of `img`; return whether it could be loaded. */
export function settled(img: HTMLImageElement, signal: AbortSignal): Promise<boolean> {
  return abortable<boolean>(signal, (resolve) => {
    const settle = ({ type }: Event) => resolve(type === "load");
    for (const type of ["load", "error"]) img.addEventListener(type, settle);
    return () => {
      for (const type of ["load", "error"]) img.removeEventListener(type, settle);
    };
  });
}
