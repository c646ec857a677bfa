import type { Candidates, VariantOptions } from "./addresses.js";
import type { ImageMeta } from "./api.js";
import { type Starter, starters } from "./config.js";
import type { ImageLoadError } from "./failure.js";
import { gatewayOf, load } from "./load.js";
import type { Report } from "./reporting.js";
import type { RetryOptions } from "./retry.js";

/** State of a load. */
export type LoadState = "idle" | "loading" | "loaded" | "retrying" | "failed" | "offline" | "fallback";

/** What to load, and how: the image `id`, or the address `src` if `id` is null. */
export interface LoadRequest {
  id: string | null;
  src: string | null;
  viaUrl: boolean;
  base: string | null;
  variant: VariantOptions;
  /** Widths and formats to choose from; nothing for those that the metadata lists for the style. */
  widths: number[] | null | undefined;
  formats: string[] | null | undefined;
  /** Whether the size of the image is unknown, so that the metadata is needed. */
  isSizeless: boolean;
  retry: RetryOptions;
  /** Limit of one attempt in ms; 0 for none. */
  timeout: number;
  fallback: string | null;
  report: Report | undefined;
  /** Bypass caches. */
  fresh: boolean;
}

/**
 * Address of the bytes, `url`, and other sizes and formats. `ends` in Unix seconds, for a presigned URL. `isRefetched`:
 * fetch the bytes even if the browser's cache has them.
 */
export interface Source {
  url: string;
  isRefetched?: boolean;
  candidates?: readonly Candidates[];
  ends?: number | null | undefined;
}

/** What could not be loaded, and when that was known, in ms since the page began. */
export type Broken = [address: string, at: number];

/** Displays an image and the state of its load. */
export interface LoaderView {
  /** The `<img>` in use. */
  img(): HTMLImageElement;
  /** Whether the page has set the source that comes next: it is loading already. */
  readonly isGiven: boolean | undefined;
  /** Whether the browser may not have requested the image yet: it is lazy, and outside of the viewport. */
  readonly isDeferred: boolean;
  /** Display the source. Return nothing, or what could not be loaded. */
  show(source: Source, signal: AbortSignal): Promise<Broken | undefined>;
  /**
   * Keep the displayed image on the screen, whose bytes are those of `address`. `passed` waits until what could not be loaded may be. Return true if nothing is
   * displayed any more, and false if the browser has nothing to choose from.
   */
  guard(address: string, signal: AbortSignal, passed: () => Promise<unknown>): Promise<boolean>;
  described(meta: ImageMeta): void;
  /** The load has failed: remove the displayed image if it is another one, or if it was refused (`isRefused`). */
  withdraw(isRefused?: boolean): void;
  changed(from: LoadState, to: LoadState): void;
  tell(event: "load" | "error" | "retry" | "recover", detail?: object): void;
}

/** The current load of one image, and its state. */
export interface Loader {
  state: LoadState;
  attempt: number;
  /** When the presigned URL in use ends, in Unix seconds. */
  ends: number | null;
  lastError: ImageLoadError | null;
  /** Start this load; the one before has been stopped. */
  start(request: LoadRequest): void;
  /** Cancel the current load silently. */
  stop(): void;
  /** Change the state and notify the view. */
  become(state: LoadState): void;
}

/** Make a loader without a load. */
export function createLoader(view: LoaderView): Loader {
  let current: AbortController | undefined;
  let starter: Starter = () => undefined;
  const loader: Loader = {
    state: "idle",
    attempt: 0,
    ends: null,
    lastError: null,
    start(request) {
      current = new AbortController();
      const { signal } = current;
      const { base } = gatewayOf(request);
      const { isGiven } = view;
      starter = (isOtherUser) => {
        // The source that the page has set does not depend on the gateway or the user.
        const isSet = isGiven && loader.state === "loading" && loader.attempt < 2;
        if (isSet || !(isOtherUser || gatewayOf(request).base !== base)) return;
        loader.stop();
        loader.start(request);
      };
      load(loader, view, request, signal).catch((error: unknown) => signal.aborted || reportError(error));
    },
    stop() {
      current?.abort();
      starters.delete(starter);
      loader.lastError = null; // the next load may be of another image
    },
    become(to) {
      const from = loader.state;
      if (to === "loading") starters.add(starter);
      if (to === "loaded") starters.delete(starter);
      if (from === to) return;
      loader.state = to;
      view.changed(from, to);
    },
  };
  return loader;
}
