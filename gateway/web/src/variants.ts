/** The widths and formats of the gateway's styles, for servers and builds: `configureSmartImage({ variants })`. */
import { baseUrlOf, type SmartImageConfig } from "./core/config.js";

/** `variants` of the configuration. */
export type Variants = NonNullable<SmartImageConfig["variants"]>;

const TIMEOUT = 10_000;

/** Read the widths and formats of all styles from the gateway. Rejects if it does not answer. */
export async function fetchVariants(baseUrl: string): Promise<Variants> {
  const address = `${baseUrlOf(baseUrl)}/static/config.json`;
  const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT) });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return ((await answer.json()) as { variants: Variants }).variants;
}
