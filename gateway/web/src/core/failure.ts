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
  /** Set if the answer was one to a stranger, and the visitor's own may be another one: it says nothing of the gateway. */
  declare isDoubted?: boolean;
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

/** Whether the same request may succeed later. */
export function isTransient(kind: FailureKind): boolean {
  return /network|timeout|throttled|unavailable|server/.test(kind);
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

/** Return the error as a failure to load; any other error means that there was no answer. */
export function asFailure(error: unknown): ImageLoadError {
  return error instanceof ImageLoadError ? error : new ImageLoadError("network");
}
