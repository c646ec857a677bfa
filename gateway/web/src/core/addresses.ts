/** Which variant of an image is wanted. What is left out is left to the gateway. */
export interface VariantOptions {
  style?: string | null;
  width?: number | null;
  format?: string | null;
  version?: string | null;
  /** A signed link to the image: a whole address, or its query. */
  link?: string | null;
}

/** A `<source>` or the `<img>`: `type` is undefined for the latter. */
export interface Candidates {
  type?: string;
  srcset: string;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

/** Whether it is an id that the gateway takes. */
export function isImageId(id: string): boolean {
  return ID.test(id);
}

/** The address of an image that never expires: `/i/{id}` under `base`, which has no slash at its end. */
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

/** What a browser chooses from: one `<source>` for each format, and last, for the `<img>`, that of no explicit format. */
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
