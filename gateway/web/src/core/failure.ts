/** Why a load failed. A closed set: it is also the label under which failures are counted. */
export type FailureKind =
  | "network" // no answer, or one that was cut off
  | "timeout" // no picture within the element's own time limit
  | "decode" // an answer that is no picture
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

/** One failed attempt. `status` is null when the browser does not tell; `retryAfter` is in milliseconds. */
export interface LoadFailure {
  readonly kind: FailureKind;
  readonly status: number | null;
  readonly requestId: string | null;
  readonly retryAfter: number | null;
}

/** An error that carries a `LoadFailure`. */
export class ImageLoadError extends Error implements LoadFailure {
  override readonly name = "ImageLoadError";
  constructor(
    readonly kind: FailureKind,
    readonly status: number | null = null,
    readonly requestId: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(kind);
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

const TRANSIENT: readonly FailureKind[] = ["network", "timeout", "throttled", "unavailable", "server"];

/** The kind of failure that an HTTP status stands for; a good status means that the bytes were no picture. */
export function kindOf(status: number): FailureKind {
  return KINDS[status] ?? (status >= 500 ? "server" : status >= 400 ? "invalid" : status ? "decode" : "network");
}

/** The kind that a `code` of the gateway's JSON answers stands for. */
export function kindOfCode(code: string): FailureKind {
  if (code === "unauthorized") return code;
  if (code === "image_blocked") return "blocked";
  if (code.endsWith("not_found")) return "not_found";
  return code.startsWith("invalid") || code.startsWith("unknown") ? "invalid" : "unavailable";
}

/** Whether the same request may succeed later, without anybody changing anything. */
export function isTransient(kind: FailureKind): boolean {
  return TRANSIENT.includes(kind);
}

/** What to do; `viaUrl` is true where the picture came by a presigned URL, which a 403 declares dead. */
export function actionFor(kind: FailureKind, viaUrl: boolean): Action {
  if (isTransient(kind) || kind === "decode") return "retry";
  if (kind === "unauthorized") return "authorize";
  return kind === "refused" && viaUrl ? "renew" : "stop";
}

/** A Retry-After field in milliseconds (RFC 9110 section 10.2.3); null when there is none that can be read. */
export function retryAfterOf(field: string | null, now = Date.now()): number | null {
  if (!field) return null;
  const ms = /^\d+$/.test(field) ? Number(field) * 1000 : Date.parse(field) - now;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
