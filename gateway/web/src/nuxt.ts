/** A provider for Nuxt Image: `image: {providers: {gateway: {provider: "@image-gateway/web/nuxt", options: {baseURL}}}}`. */
import { proxyAddress } from "./core/addresses.js";
import { baseUrlOf } from "./core/config.js";

/** What Nuxt Image hands over, as far as it is used here. */
export interface ProviderOptions {
  baseURL?: string;
  modifiers?: { width?: number | string; format?: string; style?: string; version?: string; link?: string };
}

/** The address of the image whose id is `src`; a width counts only with a style. */
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

/** Nuxt Image 2 takes a function that makes the provider. */
export default function provider(): { getImage: typeof getImage } {
  return { getImage };
}
