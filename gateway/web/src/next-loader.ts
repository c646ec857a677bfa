/** Loader for `next/image`: set `images.loaderFile` to a file with `export default createLoader({…})`. */
import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** `styleName`: the style of all images. `format`: one of its formats. */
export interface LoaderOptions {
  baseUrl?: string;
  styleName?: string;
  format?: string;
}

/** Make a loader whose `src` is an image id. `quality` is ignored: the style sets it. */
export function createLoader({ baseUrl, styleName, format }: LoaderOptions = {}) {
  return ({ src, width }: { src: string; width: number; quality?: number }): string =>
    proxyAddress(baseUrlOf(baseUrl), src, {
      style: styleName ?? null,
      width: styleName ? width : null,
      format: format ?? null,
    });
}

export default createLoader();
