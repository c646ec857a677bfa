/** Provider for Nuxt Image: `image: {providers: {gateway: {provider: "@image-gateway/web/nuxt", options: {baseURL}}}}`. */
import { variantAddress, type WantedVariant } from "./variant-address.js";

/** The options of Nuxt Image that are used here. `style`: the style of images whose modifiers name none. */
export interface ProviderOptions {
  baseURL?: string;
  style?: string;
  modifiers?: WantedVariant;
}

/** Return the address of the image `src`, an id or a signed link. */
export function getImage(src: string, { baseURL, style, modifiers }: ProviderOptions = {}): { url: string } {
  const { format } = modifiers ?? {};
  return {
    url: variantAddress(baseURL, src, {
      ...modifiers,
      style: modifiers?.style ?? style,
      // <NuxtPicture> asks for such a format for old browsers. The gateway's styles have the image's own instead.
      format: /^(jpe?g|png|gif)$/.test(format ?? "") ? "original" : format,
    }),
  };
}

/** Make the provider, as Nuxt Image 2 expects. */
export default function provider(): { getImage: typeof getImage } {
  return { getImage };
}
