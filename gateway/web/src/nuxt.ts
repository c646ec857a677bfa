/** Provider for Nuxt Image: `image: {providers: {gateway: {provider: "@image-gateway/web/nuxt", options: {baseURL}}}}`. */
import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** The options of Nuxt Image that are used here. */
export interface ProviderOptions {
  baseURL?: string;
  modifiers?: { width?: number | string; format?: string; style?: string; version?: string; link?: string };
}

/** Return the address of the image `src`. A width needs a style. */
export function getImage(src: string, { baseURL, modifiers = {} }: ProviderOptions = {}): { url: string } {
  const { width, format, style, version, link } = modifiers;
  const options = {
    style: style ?? null,
    width: style && width ? Number(width) : null,
    format: format ?? null,
    version: version ?? null,
  };
  return { url: proxyAddress(baseUrlOf(baseURL), src.replace(/^\//, ""), { ...options, link: link ?? null }) };
}

/** Make the provider, as Nuxt Image 2 expects. */
export default function provider(): { getImage: typeof getImage } {
  return { getImage };
}
