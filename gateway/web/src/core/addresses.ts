/** Variant of an image; the gateway chooses what is left out. */
export interface VariantOptions {
  style?: string | null;
  width?: number | null;
  format?: string | null;
  version?: string | null;
  /** A signed link: its whole address, or its query. */
  link?: string | null;
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

/** Return the permanent address of an image: `/i/{id}` under `base`, which has no trailing slash. */
export function proxyAddress(base: string, id: string, options: VariantOptions = {}): string {
  const { link, style, width, format, version } = options;
  let address = `${base}/i/${id}`;
  let query = "";
  if (link) {
    if (/^(https?:)?\//.test(link)) address = link;
    else query = link.replace(/^\?/, "");
  }
  const entries = { style, w: width, format, v: version };
  for (const [name, value] of Object.entries(entries)) {
    if (value) query += `${query && "&"}${name}=${encodeURIComponent(value)}`;
  }
  return query ? `${address}${address.includes("?") ? "&" : "?"}${query}` : address;
}

/** Return one `<source>` for each explicit format, and last the `srcset` of the `<img>`. */
export function candidates(
  base: string,
  id: string,
  options: VariantOptions,
  widths: readonly number[],
  formats: readonly string[],
): Candidates[] {
  const srcset = (format?: string) =>
    widths
      .map((width) => `${proxyAddress(base, id, { ...options, width, format: format ?? null })} ${width}w`)
      .join(", ");
  const explicit = formats.filter((format) => format !== "original" && format !== "auto");
  const last = formats.find((format) => !explicit.includes(format));
  return [...explicit.map((format) => ({ type: `image/${format}`, srcset: srcset(format) })), { srcset: srcset(last) }];
}
