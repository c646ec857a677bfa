import { isImageId } from "./addresses.js";
import type { Api, createApi, Tools } from "./api.js";
import { config, forgetters, secretsFor } from "./config.js";
import { asFailure, ImageLoadError, isTransient } from "./failure.js";
import { onDemand } from "./on-demand.js";

/** What the modules that are loaded later use of the others. */
export const TOOLS: Tools = [secretsFor, ImageLoadError, asFailure, isTransient];

/** Load what is not about displaying images. */
export const calls = onDemand(() => import("./calls.js"));

const apis = new Map<string, Api>();

/** Return the client of the API at `base`, which `create` makes if there is none yet. */
export function apiBy(create: typeof createApi, base: string): Api {
  let api = apis.get(base);
  if (!api) {
    api = create(base, config, forgetters, isImageId, ...TOOLS);
    apis.set(base, api);
  }
  return api;
}

/** Return the client of the API at `base`. Rejects with `ImageLoadError` if its module cannot be loaded. */
export async function apiAt(base: string): Promise<Api> {
  return apiBy((await calls()).createApi, base);
}

/** Return the client of the API at `base`, if it has been used. */
export function usedApiAt(base: string): Api | undefined {
  return apis.get(base);
}
