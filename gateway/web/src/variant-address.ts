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

/** A source of an image loader. `base`: the gateway, undefined for an id alone. `link`: the query of a signed link. */
export interface LoaderSource {
  id: string;
  base: string | undefined;
  link: string | undefined;
  query: URLSearchParams;
}

const ADDRESS = /^(?<base>.*)\/(?:i\/(?<short>[^/]+)|api\/v1\/images\/(?<long>[^/]+)\/proxy)$/;

/** Read an id or an address of the gateway, each with its query. */
export function sourceOf(src: string | URL): LoaderSource {
  const [address = "", text = ""] = String(src).split("?");
  const found = ADDRESS.exec(address)?.groups;
  const query = new URLSearchParams(text);
  const link = ["kid", "exp", "sig"].flatMap((name) => (query.has(name) ? [`${name}=${query.get(name)}`] : []));
  return {
    // Without a link every string is an id.
    id: found?.short ?? found?.long ?? (link[0] ? address : String(src)).replace(/^\//, ""),
    base: found?.base,
    link: link.join("&") || undefined,
    query,
  };
}

/**
 * Return the address of a variant of `src`, an id or an address of the gateway; a signed link stays. Width and format
 * belong to a style: without a style they are left out.
 */
export function variantAddress(
  baseUrl: string | undefined,
  src: string | URL,
  { style, width, format, version, link }: WantedVariant,
): string {
  const source = sourceOf(src);
  return proxyAddress(baseUrlOf(baseUrl ?? source.base), source.id, {
    ...(style && { style, width: Math.ceil(Number(width)), format }),
    version,
    link: link ?? source.link,
  });
}
