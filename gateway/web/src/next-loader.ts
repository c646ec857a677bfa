/** Loader for `next/image`: set `images.loaderFile` to a file with `export default createLoader({…})`. */
import { variantAddress } from "./variant-address.js";

/** `styleName`: the style of all images. `format`: one of its formats. */
export interface LoaderOptions {
  baseUrl?: string;
  styleName?: string;
  format?: string;
}

/** Make a loader whose `src` is an image id, or a signed link. `quality` is ignored: the style sets it. */
export function createLoader({ baseUrl, styleName, format }: LoaderOptions = {}) {
  return ({ src, width }: { src: string; width: number; quality?: number }): string =>
    variantAddress(baseUrl, src, { style: styleName, width, format });
}

export default createLoader();
