import type { FailureKind, ImageLoadError } from "./failure.js";

/** The class, which is in another file. */
export type Failure = typeof ImageLoadError;

/** Answers that depend on who asks. */
export const REFUSALS: readonly FailureKind[] = ["unauthorized", "refused", "not_found"];

const KINDS: Readonly<Record<number, FailureKind>> = {
  401: "unauthorized",
  403: "refused",
  404: "not_found",
  410: "not_found",
  429: "throttled",
  451: "blocked",
  503: "unavailable",
};

/** Map an HTTP status to a failure. 0 means no answer; a status of success, that the body `isWhole` and no image. */
export function kindOf(status: number, isWhole = true): FailureKind {
  const succeeded = status && isWhole ? "decode" : "network";
  return KINDS[status] ?? (status >= 500 ? "server" : status >= 400 ? "invalid" : succeeded);
}

/** Map an error code of the gateway's API to a failure. */
export function kindOfCode(code: string): FailureKind {
  if (code === "unauthorized") return code;
  if (code === "image_blocked") return "blocked";
  if (/not_found$/.test(code)) return "not_found";
  return /^(invalid|unknown)/.test(code) ? "invalid" : "unavailable";
}

/**
 * Parse Retry-After (RFC 9110 section 10.2.3) into ms, a day at most: timers of browsers end at once after 25 days. Return
 * null if it is missing, malformed or past.
 */
export function retryAfterOf(field: string | null, now: number): number | null {
  const text = field ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return ms >= 0 ? Math.min(ms, 864e5) : null;
}

/** Return what an answer tells. `received`: bytes that an `<img>` got of the body. */
export function failureOf(Failed: Failure, { status, headers }: Response, received = Infinity): ImageLoadError {
  const retryAfter = retryAfterOf(headers.get("Retry-After"), Date.now());
  const isWhole = received >= (Number(headers.get("Content-Length")) || Infinity);
  return new Failed(kindOf(status, isWhole), status, headers.get("X-Request-Id"), retryAfter);
}

/** Return why a call failed: a timeout, else what `toFailure` makes of the error. */
export function failureOfCall(
  Failed: Failure,
  toFailure: (error: unknown) => ImageLoadError,
  error: unknown,
): ImageLoadError {
  return (error as Error).name === "TimeoutError" ? new Failed("timeout") : toFailure(error);
}
