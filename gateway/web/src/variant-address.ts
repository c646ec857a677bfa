import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** What image loaders ask for; values may come from templates, as text or not at all. */
export interface WantedVariant {
  style?: string | undefined;
  width?: number | string | undefined;
  format?: string | undefined;
  version?: string | undefined;
  link?: string | undefined;
}

/** Return the address of a variant. Width and format belong to a style: without one they are left out. */
export function variantAddress(
  baseUrl: string | undefined,
  id: string,
  { style, width, format, version, link }: WantedVariant,
): string {
  return proxyAddress(baseUrlOf(baseUrl), id, {
    ...(style && { style, width: Math.ceil(Number(width)) || null, format: format ?? null }),
    version: version ?? null,
    link: link ?? null,
  });
}
