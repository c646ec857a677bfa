/** Variant of an image; the gateway chooses what is left out. */
export interface VariantOptions {
  style?: string | null | undefined;
  width?: number | null | undefined;
  format?: string | null | undefined;
  /** One of the style's `ratios`, such as `16:9`. */
  ratio?: string | null | undefined;
  version?: string | null | undefined;
  /** A signed link: its path, as the gateway gives it, its whole address, or its query. */
  link?: string | null | undefined;
  fragment?: string;
}

/** The `srcset` of a `<source>`, or of the `<img>` if `type` is undefined. */
export interface Candidates {
  type?: string;
  srcset: string;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

/** Whether the gateway accepts the id. */
export function isImageId(id: string): boolean {
  return ID.test(id);
}

/**
 * Return the permanent address of an image: `/i/{id}` under `base`, which has no trailing slash. What is no id is encoded
 * and gets a space in front, so that dots do not lead to another path.
 */
export function proxyAddress(
  base: string,
  id: string,
  { link, style, width, format, ratio, version, fragment = "" }: VariantOptions = {},
): string {
  const name = isImageId(id) ? id : encodeURIComponent(` ${id}`);
  const path = link?.[0] === "/" ? link : `/i/${name}${link ? `?${link.replace("?", "")}` : ""}`;
  let address = link && /^(https?:)?\/\//.test(link) ? link : base + path;
  for (const [name, value] of Object.entries({ style, w: width, r: ratio, format, v: version })) {
    if (value)
      address += `${address.includes("?") ? "&" : "?"}${name}=${encodeURIComponent(value).replace("%3A", ":")}`;
  }
  return address + fragment;
}

type Text = VariantOptions["ratio"];
type Length = VariantOptions["width"];

/** Return width and height in CSS pixels, 0 if unknown: by a ratio such as `16:9` one follows from the other. */
export function boxOf(width: Length, height: Length, ratio: Text): [width: number, height: number] {
  const [across = 0, down = 0] = `${ratio}`.split(":").map(Number);
  return [
    width || Math.round(((height ?? 0) * across) / down) || 0,
    height || Math.round(((width ?? 0) * down) / across) || 0,
  ];
}

/** Return `sizes`: the given ones, else those of a box of `width` CSS pixels (0 if unknown) that fits into the viewport. */
export function sizesOf(given: Text, width: number | undefined, isLazy: boolean): string {
  const box = width ? `(min-width: ${width}px) ${width}px, 100vw` : "100vw";
  return given ?? (isLazy ? `auto, ${box}` : box);
}

/** Return one `<source>` for each explicit format, and last the `srcset` of the `<img>`; nothing without widths. */
export function candidates(
  base: string,
  id: string,
  options: VariantOptions,
  widths: readonly number[],
  formats: readonly string[],
): Candidates[] {
  const srcset = (format?: string) =>
    widths.map((width) => `${proxyAddress(base, id, { ...options, width, format })} ${width}w`).join(", ");
  if (!widths.length) return [];
  const explicit = formats.filter((format) => !/^(original|auto)$/.test(format));
  const last = formats.find((format) => !explicit.includes(format));
  return [...explicit.map((format) => ({ type: `image/${format}`, srcset: srcset(format) })), { srcset: srcset(last) }];
}
