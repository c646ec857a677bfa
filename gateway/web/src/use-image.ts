import { boxOf, proxyAddress, sizesOf } from "./core/addresses.js";
import { baseUrlOf, configuredVariant } from "./core/config.js";

/**
 * `width` and `height` in CSS pixels, `ratio` as `16:9`: one of them follows from the others. `format`: one of the style's, or
 * `original`, which all mail clients show. `widths`: by default those of the style that the configuration has, else `width`
 * once and twice. `link`: a signed link, its whole address or its query.
 */
export interface UseImageOptions {
  baseUrl?: string | undefined;
  styleName?: string | undefined;
  width?: number | undefined;
  height?: number | undefined;
  ratio?: string | undefined;
  widths?: readonly number[] | undefined;
  sizes?: string | undefined;
  format?: string | undefined;
  version?: string | undefined;
  link?: string | undefined;
}

/** What an `<img>` needs. `srcset` and `sizes` are undefined for an image that has one size. */
export interface UsedImage {
  src: string;
  srcset: string | undefined;
  sizes: string | undefined;
  width: number | undefined;
  height: number | undefined;
}

/**
 * Return the addresses of the image `id`, for what is no element: CSS backgrounds, posters, sources of a `<picture>`, e-mail.
 * Nothing is requested. Without `styleName` it is the original.
 */
export function useImage(id: string, options: UseImageOptions = {}): UsedImage {
  const { styleName: style, ratio, format, version, link } = options;
  const base = baseUrlOf(options.baseUrl);
  const [width, height] = boxOf(options.width, options.height, ratio);
  const at = (width?: number) => proxyAddress(base, id, { ...variant, ...(style && width && { width }) });
  const variant = { version, link, ...(style && { style, ratio, format }) };
  const widths = (style && (options.widths ?? configuredVariant(base, style)?.widths)) || [];
  const densities = style && width && !widths[0] ? [1, 2] : [];
  const listed = [
    ...widths.map((width) => `${at(width)} ${width}w`),
    ...densities.map((density) => `${at(density * width)} ${density}x`),
  ];
  return {
    src: at(width),
    srcset: listed.join(", ") || undefined,
    sizes: widths[0] ? sizesOf(options.sizes, width, false) : undefined,
    width: width || undefined,
    height: height || undefined,
  };
}
