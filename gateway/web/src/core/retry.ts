import { sleep } from "./sleep.js";

/** How often and how long to retry: at most `max` times, the n-th after up to `delay * 2^(n-1)` ms, `maxDelay` at most. */
export interface RetryOptions {
  max: number;
  delay: number;
  maxDelay: number;
  /** Full jitter: a random part of the delay. Without it every delay is the whole one. */
  jitter?: boolean;
  /** A number from 0 up to 1; `Math.random` unless a test gives another. */
  random?: () => number;
}

/** What is used where nothing else is said. */
export const RETRY_DEFAULTS: Readonly<RetryOptions> = { max: 3, delay: 1000, maxDelay: 30_000 };

/** The delay in ms before retry number `attempt`, which counts from 1: exponential backoff with full jitter. */
export function backoff(
  attempt: number,
  { delay, maxDelay, jitter = true, random = Math.random }: RetryOptions,
): number {
  const most = Math.min(maxDelay, delay * 2 ** Math.min(attempt - 1, 30));
  return jitter ? random() * most : most;
}

/** Runs a task until it succeeds or the retries are used up. */
export class Retrier {
  /** How many attempts the current or last run has made. */
  attempt = 0;
  #abort: AbortController | undefined;
  readonly #options: RetryOptions;

  constructor(options: Partial<RetryOptions> = {}) {
    this.#options = { ...RETRY_DEFAULTS, ...options };
  }

  /** The task's result; rejects with its last error. A run that is still on is cancelled. `mayRetry` decides by error. */
  async run<T>(
    task: (signal: AbortSignal) => Promise<T>,
    mayRetry: (error: unknown) => boolean = () => true,
  ): Promise<T> {
    this.reset();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    for (let attempt = 1; ; attempt++) {
      this.attempt = attempt;
      try {
        return await task(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (attempt > this.#options.max || !mayRetry(error)) throw error;
        await sleep(backoff(attempt, this.#options), signal);
      }
    }
  }

  /** Stop the run; its promise rejects with an AbortError. */
  cancel(): void {
    this.#abort?.abort();
  }

  /** Stop the run and count from 0 again. */
  reset(): void {
    this.cancel();
    this.attempt = 0;
  }
}
