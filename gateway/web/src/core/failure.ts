/** Why a load failed. A closed set, because it is also a metric label. */
export type FailureKind =
  | "network" // no answer, or an incomplete one
  | "timeout" // the attribute `timeout` has passed
  | "decode" // the answer is not an image
  | "throttled" // 429
  | "unavailable" // 503
  | "server" // any other 5xx
  | "unauthorized" // 401
  | "refused" // 403
  | "not_found" // 404, 410
  | "blocked" // 451
  | "invalid"; // any other 4xx

/** What to do about a failure. */
export type Action = "stop" | "authorize" | "renew" | "retry";

/** A failed attempt. `status` is null if the browser hides it; `retryAfter` is in ms. */
export interface LoadFailure {
  readonly kind: FailureKind;
  readonly status: number | null;
  readonly requestId: string | null;
  readonly retryAfter: number | null;
}

/** An error that carries a `LoadFailure`. */
export class ImageLoadError extends Error implements LoadFailure {
  declare readonly kind: FailureKind;
  declare readonly status: number | null;
  declare readonly requestId: string | null;
  declare readonly retryAfter: number | null;
  constructor(
    kind: FailureKind,
    status: number | null = null,
    requestId: string | null = null,
    retryAfter: number | null = null,
  ) {
    super(kind);
    Object.assign(this, { name: "ImageLoadError", kind, status, requestId, retryAfter });
  }
}

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

/** Whether the same request may succeed later. */
export function isTransient(kind: FailureKind): boolean {
  return /^(network|timeout|throttled|unavailable|server)$/.test(kind);
}

/**
 * Decide what to do about a failure. `viaUrl`: the image was loaded by a presigned URL, so 403 means that it expired, and
 * the token for the API call has been renewed already.
 */
export function actionFor(kind: FailureKind, viaUrl: boolean): Action {
  if (isTransient(kind) || kind === "decode") return "retry";
  if (viaUrl) return kind === "refused" ? "renew" : "stop";
  return kind === "unauthorized" ? "authorize" : "stop";
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
