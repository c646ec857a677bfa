import { sleep } from "./sleep.js";

/** Retry at most `max` times; the n-th retry waits up to `delay * 2^(n-1)` ms, and at most `maxDelay`. */
export interface RetryOptions {
  max: number;
  delay: number;
  maxDelay: number;
  /** Full jitter: wait a random part of the delay. On by default. */
  jitter?: boolean;
  /** Source of randomness; `Math.random` by default. */
  random?: () => number;
}

/** Defaults of `Retrier`. */
export const RETRY_DEFAULTS: Readonly<RetryOptions> = { max: 3, delay: 1000, maxDelay: 30_000 };

/** Return the longest delay in ms before retry number `attempt` (from 1): exponential backoff. */
export function longestDelay(attempt: number, { delay, maxDelay }: Pick<RetryOptions, "delay" | "maxDelay">): number {
  return Math.min(maxDelay, delay * 2 ** (attempt - 1));
}

/** Return the delay in ms before retry number `attempt` (from 1): exponential backoff with full jitter. */
export function backoff(
  attempt: number,
  { delay, maxDelay, jitter = true, random = Math.random }: RetryOptions,
): number {
  return (jitter ? random() : 1) * longestDelay(attempt, { delay, maxDelay });
}

/** Runs a task until it succeeds or the retries are used up. */
export class Retrier {
  /** Number of attempts of the current or last run. */
  attempt = 0;
  #abort: AbortController | undefined;
  readonly #options: RetryOptions;

  constructor(options: Partial<RetryOptions> = {}) {
    this.#options = { ...RETRY_DEFAULTS, ...options };
  }

  /** Run `task` and cancel the previous run. Rejects with the last error once retries are used up or `mayRetry` is false. */
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
        const value = await task(signal);
        signal.throwIfAborted(); // a task may ignore its signal
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (attempt > this.#options.max || !mayRetry(error)) throw error;
        await sleep(backoff(attempt, this.#options), signal);
      }
    }
  }

  /** Cancel the run; its promise rejects with an AbortError. */
  cancel(): void {
    this.#abort?.abort();
  }

  /** Cancel the run and set `attempt` to 0. */
  reset(): void {
    this.cancel();
    this.attempt = 0;
  }
}
