/** A loader for `next/image`: name a file with `export default createLoader({…})` as `images.loaderFile`. */
import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** `styleName` is the style that pictures are asked for in; `format` one of its formats. */
export interface LoaderOptions {
  baseUrl?: string;
  styleName?: string;
  format?: string;
}

/** A loader that takes image ids for `src`. `quality` is a matter of the style, and is not sent. */
export function createLoader({ baseUrl, styleName, format }: LoaderOptions = {}) {
  return ({ src, width }: { src: string; width: number; quality?: number }): string =>
    proxyAddress(baseUrlOf(baseUrl), src, {
      style: styleName ?? null,
      width: styleName ? width : null,
      format: format ?? null,
    });
}

export default createLoader();
