/** The widths and formats of the gateway's styles, for servers and builds: `configureSmartImage({ variants })`. */
import { baseUrlOf, type SmartImageConfig } from "./core/config.js";

/** `variants` of the configuration. */
export type Variants = NonNullable<SmartImageConfig["variants"]>;

const TIMEOUT = 10_000;

/**
 * Read the widths and formats of all styles from the gateway. If it does not answer, return `fallback` with a warning, such as
 * the `variants` of a `config.json` in your repository; without it, reject.
 */
export async function fetchVariants(baseUrl: string, { fallback }: { fallback?: Variants } = {}): Promise<Variants> {
  const address = `${baseUrlOf(baseUrl)}/static/config.json`;
  try {
    const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return ((await answer.json()) as { variants: Variants }).variants;
  } catch (error) {
    if (!fallback) throw error;
    // biome-ignore lint/suspicious/noConsole: the build goes on
    console.warn(`@image-gateway/web: the widths of styles are those of the fallback: ${error}`);
    return fallback;
  }
}
