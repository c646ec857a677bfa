/** Provider for unpic: `transform`, `generate` and `extract`. */
import { variantAddress } from "./variant-address.js";

/** Operations on an image. */
export interface GatewayOperations {
  width?: number | string;
  format?: string;
  style?: string;
  version?: string;
}

/** The gateway, for sources that are ids. */
export interface GatewayOptions {
  baseUrl?: string;
}

const ADDRESS = /^(?<base>.*)\/(?:i\/(?<short>[^/]+)|api\/v1\/images\/(?<long>[^/]+)\/proxy)$/;

/** Return the address of an image with the operations; `src` is an id or an address of the gateway. */
export function generate(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  const found = ADDRESS.exec(String(src).split("?")[0] ?? "")?.groups;
  return variantAddress(options.baseUrl ?? found?.base, found?.short ?? found?.long ?? String(src), operations);
}

/** Return the id and the operations of an address, or null if it is not an address of the gateway. */
export function extract(
  url: string | URL,
): { src: string; operations: GatewayOperations; options: GatewayOptions } | null {
  const [address = "", query = ""] = String(url).split("?");
  const found = ADDRESS.exec(address)?.groups;
  if (!found) return null;
  const parameters = new URLSearchParams(query);
  const operations: GatewayOperations = {};
  const names = { style: "style", w: "width", format: "format", v: "version" } as const;
  for (const [name, operation] of Object.entries(names) as [string, keyof GatewayOperations][]) {
    const value = parameters.get(name);
    if (value) operations[operation] = operation === "width" ? (Number(value) as never) : (value as never);
  }
  return { src: found.short ?? found.long ?? "", operations, options: { baseUrl: found.base ?? "" } };
}

/** Like `generate`, and keep the operations that the address has already. */
export function transform(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  return generate(src, { ...extract(src)?.operations, ...operations }, options);
}
