import { proxyAddress, type VariantOptions } from "./addresses.js";
import type { Calls, ImageMeta, ImageUrl } from "./api.js";
import { apiAt } from "./api-at.js";
import { baseUrlOf } from "./config.js";
import type { ImageLoadError } from "./failure.js";

/** The gateway's API for scripts. */
export const imageProxy = {
  /** Return a presigned URL and its expiry. */
  url: call("url") as (id: string) => Promise<ImageUrl>,
  /** Return the permanent address, without a request. */
  proxyUrl: (id: string, options?: VariantOptions): string => proxyAddress(baseUrlOf(), id, options),
  /** Return for each id its URL or its error, with as few calls as possible. */
  batch: call("batch") as (ids: readonly string[]) => Promise<Map<string, ImageUrl | ImageLoadError>>,
  /** Request a new URL. Only the owner may. */
  refresh: call("refresh") as (id: string) => Promise<ImageUrl>,
  /** Return the metadata, or undefined if the gateway does not offer it. */
  meta: call("meta") as (id: string) => Promise<ImageMeta | undefined>,
};

/** Return a function that makes a call of the API, which is loaded first. */
function call(name: keyof Calls): (argument: never) => Promise<unknown> {
  return async (argument) => (await apiAt(baseUrlOf()))[name](argument);
}
