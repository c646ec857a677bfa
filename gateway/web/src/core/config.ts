import type { BatchOptions } from "./batch.js";
import type { CacheOptions } from "./cache.js";

/** A signed link: its address, or the address with its expiry (Unix seconds). */
export type Link = string | { url: string; expires_at?: number };

/** `sample`: the share of pages that report, 0 to 1. `endpoint`: where to. `interval`: how often, in ms. */
export interface MonitorOptions {
  sample?: number;
  endpoint?: string;
  interval?: number;
}

/** Configuration of all images of a page. */
export interface SmartImageConfig {
  /** Address of the gateway. Default: where the script was loaded from, else the page's origin. */
  baseUrl?: string;
  /** Origins of further gateways that get the token, cookies and links. Default: only that of `baseUrl`. */
  trustedOrigins?: readonly string[];
  /** Credentials mode of API calls; `same-origin` by default. */
  credentials?: RequestCredentials;
  /** Returns the bearer token for API calls. `renew` is true after the gateway answered 401. */
  getToken?: (options: { renew: boolean }) => string | null | Promise<string | null>;
  /** Returns a signed link to a private image, or null for a public one. `renew` is true after a 401. */
  getLink?: (id: string, options: { renew: boolean }) => Link | null | Promise<Link | null>;
  /** Widths and formats of styles, as `variants` of the gateway's `config.json`: no call is needed to learn them. */
  variants?: Readonly<
    Record<string, { widths: readonly number[]; formats: readonly string[]; ratios?: readonly string[] }>
  >;
  /** `meta: false` never requests sizes and placeholders. */
  batch?: Partial<BatchOptions> & { meta?: boolean };
  cache?: Partial<CacheOptions>;
  /** Report load times and failures; true is the same as `{}`. */
  monitor?: boolean | MonitorOptions;
  /** Texts by language; they replace built-in ones. */
  messages?: Record<string, Partial<Record<string, string>>>;
}

// The served file has two names, and an application may have the npm package beside it: a page with two copies of this module
// has one configuration. No markup can make a property whose name is a symbol.
const page = globalThis as { [name: symbol]: Shared | undefined };
const KEY = Symbol.for("smart-image");
page[KEY] ??= [{}, [], new Set()];
page[KEY][2] ??= new Set(); // a copy of an earlier version made the others

type Shared = [config: SmartImageConfig, forgetters: (() => void)[], starters: Set<Starter>];

/** Starts a load again if what was configured until now may be wrong for it. */
export type Starter = (isOtherUser: boolean) => void;

/**
 * `config`: the current configuration; only `configureSmartImage` changes it. `forgetters`: called when the user may have
 * changed, so that each gateway forgets the token and URLs of the one before. `starters`: those of loads that are not loaded.
 */
export const [config, forgetters, starters] = page[KEY];

/**
 * Change the named parts of the configuration. Elements use it from their next load on, and start again what is not loaded
 * from another gateway. `getToken`, `getLink` or `credentials`, even if they are the same as before, mean another user:
 * token and cached URLs are forgotten, calls that are in flight are made again, and so are loads that have not succeeded.
 */
export function configureSmartImage(changes: SmartImageConfig): void {
  Object.assign(config, changes);
  const isOtherUser = ["getToken", "getLink", "credentials"].some((name) => name in changes);
  if (isOtherUser) for (const forget of forgetters) forget();
  for (const start of [...starters]) start(isOtherUser);
}

/** Return what the page's configuration says of the style of a gateway. */
export function configuredVariant(base: string, style: string | null | undefined) {
  return style && base === baseUrlOf() ? config.variants?.[style] : undefined;
}

/** Return what the gateway at `base` may get: nothing, unless the page's configuration names its origin. */
export function secretsFor(base: string): Pick<SmartImageConfig, "credentials" | "getToken" | "getLink"> {
  // A <base> of the page changes where a relative address leads, but never which origins are named.
  const origin = originOf(base, globalThis.document?.baseURI);
  const named = [baseUrlOf(), ...(config.trustedOrigins ?? [])];
  return origin && named.some((address) => originOf(address) === origin) ? config : {};
}

/** Return the origin of an address, or nothing if the address is not valid. */
export function originOf(address: string, from = globalThis.location?.href): string | undefined {
  try {
    return new URL(address, from).origin;
  } catch {
    return undefined;
  }
}

/** Return the gateway's address without a trailing slash: `given`, else the configured one, else the page's origin. */
export function baseUrlOf(given?: string | null): string {
  return (given || config.baseUrl || globalThis.location?.origin || "").replace(/\/+$/, "");
}
