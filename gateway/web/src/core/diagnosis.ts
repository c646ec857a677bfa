import { failureOf, failureOfCall, kindOf, REFUSALS } from "./answers.js";
import type { Tools } from "./api.js";
import type { ImageLoadError } from "./failure.js";
import type { Broken } from "./loader.js";
import type { distrustSizes, timingsOf } from "./timing.js";

const TIMEOUT = 15_000;
// Some megabytes, on a page that is open for days.
const MOST_TIMINGS = 10_000;

/** Keep more timings: browsers keep those of 250 resources. None is removed, since other scripts read them, too. */
function keepTimings(): void {
  const { length } = performance.getEntriesByType("resource");
  if (length < MOST_TIMINGS) performance.setResourceTimingBufferSize(length + 1000);
}

// Not on servers, nor in jsdom, which lacks it.
if (globalThis.document && "setResourceTimingBufferSize" in performance) {
  keepTimings(); // WebKit fires no event if there was one before
  performance.addEventListener("resourcetimingbufferfull", keepTimings);
}

/** Asks a gateway by HEAD. */
export interface Diagnosis {
  /** Whether a HEAD of `address` is answered without a transient error. */
  answers(address: string): Promise<boolean>;
  /**
   * Find out why an address failed, by Resource Timing since `since`, in ms. If that has no status of a failure, and `mayAsk`,
   * send a HEAD: one at a time, and none while the gateway is away.
   */
  cause(broken: Broken, since: number, mayAsk: boolean, signal: AbortSignal, told: Told): Promise<ImageLoadError>;
}

/** Called with what a HEAD told, before the next one is sent. */
type Told = (failure: ImageLoadError) => void;

/** Make the diagnosis of the gateway at `base`. `isAway`: whether no HEAD is of use now. */
export function createDiagnosis(
  base: string,
  isAway: () => boolean,
  findTimings: typeof timingsOf,
  distrust: typeof distrustSizes,
  ...[secretsFor, Failed, toFailure, isPassing]: Tools
): Diagnosis {
  let last: Promise<unknown> = Promise.resolve();

  /** Send a HEAD. `received`: bytes that an `<img>` got of the body, 0 if unknown; without it only the status counts. */
  function head(address: string, received?: () => number): Promise<ImageLoadError> {
    const { credentials = "same-origin" } = secretsFor(base);
    const signal = AbortSignal.timeout(TIMEOUT);
    return fetch(address, { method: "HEAD", cache: "no-store", credentials, signal }).then(
      (answer) => {
        const failure = failureOf(Failed, answer, received?.());
        // The `<img>` has sent cookies, with which the answer may be another one.
        const isAnonymous = received && answer.type === "cors" && credentials !== "include";
        const isForCookies = /cookie/i.test(`${answer.headers.get("Vary")}`);
        if (isAnonymous && isForCookies && REFUSALS.includes(failure.kind)) failure.isDoubted = true;
        return failure;
      },
      (error: unknown) => failureOfCall(Failed, toFailure, error),
    );
  }

  /** Return the bytes that an `<img>` got in the attempt that began at `since` and failed at `at`, 0 if unknown. */
  function receivedIn(address: string, since: number, at: number): number {
    // WebKit asks again when `srcset` is removed after the failure, and has an entry of that answer alone.
    const before = findTimings(address).filter(({ startTime }) => startTime < at);
    const own = before.filter(({ startTime }) => startTime >= since);
    // Firefox has the entry of an earlier attempt for bytes that it keeps from that. WebKit has no status.
    const kept = before.filter(({ responseStatus }) => responseStatus !== undefined);
    return (own.at(-1) ?? kept.at(-1))?.encodedBodySize ?? 0;
  }

  return {
    async answers(address) {
      return !isPassing((await head(address)).kind);
    },
    async cause([address, at], since, mayAsk, signal, told) {
      const entry = findTimings(address, since).at(-1);
      const status = entry?.responseStatus ?? 0;
      const known = new Failed(kindOf(status, false), status || null);
      // For the page's own origin the status is never hidden: 0 means no answer. WebKit has no status.
      const isTold = status >= 400 || (entry?.responseStatus === 0 && address.startsWith(`${location.origin}/`));
      // Resource Timing has no Retry-After.
      if (!mayAsk || (isTold && !/unavailable|throttled/.test(known.kind))) return known;
      const found = last.then(async () => {
        if (isAway() || signal.aborted || !navigator.onLine) return known;
        // Asked for when HEAD is answered: Firefox has no entry yet when the image fails.
        const failure = await head(address, () => receivedIn(address, since, at));
        if (failure.kind === "decode") distrust();
        told(failure);
        return failure.kind === "network" ? known : failure;
      });
      last = found;
      return found;
    },
  };
}
