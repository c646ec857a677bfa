/** Provider for unpic: `transform`, `generate` and `extract`. */
import { sourceOf, variantAddress } from "./variant-address.js";

/** Operations on an image. `link`: the query of a signed link: `kid`, `exp` and `sig`. */
export interface GatewayOperations {
  width?: number | string;
  format?: string;
  style?: string;
  version?: string;
  link?: string;
}

/** The gateway, for sources that are ids. */
export interface GatewayOptions {
  baseUrl?: string;
}

/** Return the address of an image with the operations; `src` is an id or an address of the gateway. */
export function generate(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  return variantAddress(options.baseUrl, src, operations);
}

/** Return the id and the operations of an address, or null if it is not an address of the gateway. */
export function extract(
  url: string | URL,
): { src: string; operations: GatewayOperations; options: GatewayOptions } | null {
  const { id, base, link, query } = sourceOf(url);
  if (base === undefined) return null;
  const operations: GatewayOperations = link ? { link } : {};
  const names = { style: "style", w: "width", format: "format", v: "version" } as const;
  for (const [name, operation] of Object.entries(names) as [string, keyof GatewayOperations][]) {
    const value = query.get(name);
    if (value) operations[operation] = operation === "width" ? (Number(value) as never) : (value as never);
  }
  return { src: id, operations, options: { baseUrl: base } };
}

/** Like `generate`, and keep the operations that the address has already. */
export function transform(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  return generate(src, { ...extract(src)?.operations, ...operations }, options);
}
