/** A provider for unpic: `transform`, `generate` and `extract` for addresses of the gateway. */
import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** What may be asked of a picture. */
export interface GatewayOperations {
  width?: number | string;
  format?: string;
  style?: string;
  version?: string;
}

/** Which gateway, where the source is an id and no address. */
export interface GatewayOptions {
  baseUrl?: string;
}

const ADDRESS = /^(?<base>.*)\/(?:i\/(?<short>[^/]+)|api\/v1\/images\/(?<long>[^/]+)\/proxy)$/;

/** The address of an image id, or of an image's address, with these operations. */
export function generate(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  const found = ADDRESS.exec(String(src).split("?")[0] ?? "")?.groups;
  const base = baseUrlOf(options.baseUrl ?? found?.base);
  const { style, width, format, version } = operations;
  return proxyAddress(base, found?.short ?? found?.long ?? String(src), {
    style: style ?? null,
    width: width ? Number(width) : null,
    format: format ?? null,
    version: version ?? null,
  });
}

/** What an address of the gateway asks for; null for any other address. */
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

/** As `generate`, on top of what the address asks for already. */
export function transform(src: string | URL, operations: GatewayOperations, options: GatewayOptions = {}): string {
  return generate(src, { ...extract(src)?.operations, ...operations }, options);
}
