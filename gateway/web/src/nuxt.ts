/** Provider for Nuxt Image: `image: {providers: {gateway: {provider: "@image-gateway/web/nuxt", options: {baseURL}}}}`. */
import { variantAddress, type WantedVariant } from "./variant-address.js";

/** The options of Nuxt Image that are used here. `style`: the style of images whose modifiers name none. */
export interface ProviderOptions {
  baseURL?: string;
  style?: string;
  modifiers?: WantedVariant;
}

/** Return the address of the image `src`. */
export function getImage(src: string, { baseURL, style, modifiers }: ProviderOptions = {}): { url: string } {
  return { url: variantAddress(baseURL, src.replace(/^\//, ""), { ...modifiers, style: modifiers?.style ?? style }) };
}

/** Make the provider, as Nuxt Image 2 expects. */
export default function provider(): { getImage: typeof getImage } {
  return { getImage };
}
