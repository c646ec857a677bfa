import type { BatchOptions } from "./batch.js";
import type { CacheOptions } from "./cache.js";

/** A signed link: its address, or address and end (Unix seconds). */
export type Link = string | { url: string; expires_at?: number };

/** How failures are reported: `sample` is the share of pages that report, 0 to 1. */
export interface MonitorOptions {
  sample?: number;
  endpoint?: string;
  interval?: number;
}

/** What a page says once for all its pictures. */
export interface SmartImageConfig {
  /** Where the gateway is; by default the origin that the script, else the page, came from. */
  baseUrl?: string;
  /** How calls of the API are sent; `same-origin` by default. */
  credentials?: RequestCredentials;
  /** The bearer token for calls of the API; `renew` is true after the gateway refused the last one. */
  getToken?: (options: { renew: boolean }) => string | null | Promise<string | null>;
  /** A signed link to an image that others may not see; null for one that needs none. */
  getLink?: (id: string, options: { renew: boolean }) => Link | null | Promise<Link | null>;
  /** `meta: false` never asks for sizes and placeholders. */
  batch?: Partial<BatchOptions> & { meta?: boolean };
  cache?: Partial<CacheOptions>;
  /** Report what was seen; true is the same as `{}`. */
  monitor?: boolean | MonitorOptions;
  /** Texts by language, over the built-in ones. */
  messages?: Record<string, Partial<Record<string, string>>>;
}

/** The configuration in force. Changed by `configureSmartImage` alone. */
export const config: SmartImageConfig = {};

/** Set some of the configuration; what is not named stays. Elements see it at their next load. */
export function configureSmartImage(changes: SmartImageConfig): void {
  Object.assign(config, changes);
}

/** The gateway's address without a slash at its end: `given`, else the configured one, else the page's origin. */
export function baseUrlOf(given?: string | null): string {
  return (given || config.baseUrl || globalThis.location?.origin || "").replace(/\/+$/, "");
}
