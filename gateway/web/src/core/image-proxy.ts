import { proxyAddress, type VariantOptions } from "./addresses.js";
import { baseUrlOf } from "./config.js";
import type { ImageLoadError } from "./failure.js";
import type { Gate } from "./gate.js";
import { asFailure, createGateway, type Gateway, type ImageMeta, type ImageUrl } from "./gateway.js";

const gateways = new Map<string, Gateway>();

/** Return the page's `Gateway` for an address. */
export function gatewayAt(base?: string | null): Gateway {
  const address = baseUrlOf(base);
  let gateway = gateways.get(address);
  if (!gateway) {
    gateway = createGateway(address);
    gateways.set(address, gateway);
    wakeWithThePage(gateway.gate);
  }
  return gateway;
}

/** The gateway's API for scripts. */
export const imageProxy = {
  /** Return a presigned URL and its expiry. */
  url: (id: string): Promise<ImageUrl> => gatewayAt().url(id),
  /** Return the permanent address, without a request. */
  proxyUrl: (id: string, options?: VariantOptions): string => proxyAddress(baseUrlOf(), id, options),
  /** Return for each id its URL or its error, with as few calls as possible. */
  batch: async (ids: readonly string[]): Promise<Map<string, ImageUrl | ImageLoadError>> => {
    const gateway = gatewayAt();
    const answers = ids.map(async (id) => [id, await gateway.url(id).catch(asFailure)] as const);
    return new Map(await Promise.all(answers));
  },
  /** Request a new URL. Only the owner may. */
  refresh: (id: string): Promise<ImageUrl> => gatewayAt().refresh(id),
  /** Return the metadata, or undefined if the gateway does not offer it. */
  meta: (id: string): Promise<ImageMeta | undefined> => gatewayAt().meta(id),
};

function wakeWithThePage(gate: Gate): void {
  for (const type of ["online", "pageshow", "visibilitychange"]) {
    globalThis.addEventListener?.(type, () => document.hidden || gate.wake());
  }
}
