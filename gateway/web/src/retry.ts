/** Retries with exponential backoff for tasks of your own. */
export { backoff, Retrier, type RetryOptions } from "./core/retry.js";
