import { ImageLoadError } from "./failure.js";

// ms; an address that never answers is as bad as one that fails.
const TIMEOUT = 10_000;

/**
 * Return a function that loads a module when it is used. What could not be loaded is requested again at the next use: `again`
 * becomes part of the address in the served file, since browsers remember failed addresses as long as the page is open. The
 * function rejects with `ImageLoadError`.
 */
export function onDemand<T>(load: (again: string) => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined;
  let again = "";
  return () => {
    loaded ??= Promise.race([
      load(again),
      new Promise<never>((_, reject) => {
        setTimeout(reject, TIMEOUT);
      }),
    ]).catch(() => {
      loaded = undefined;
      again += "#";
      throw new ImageLoadError("network");
    });
    return loaded;
  };
}
