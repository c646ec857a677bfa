import { isImageId } from "./addresses.js";
import { createBatcher } from "./batch.js";
import { createCache, type ImageCache } from "./cache.js";
import { config, forgetters, secretsFor } from "./config.js";
import { ImageLoadError, isTransient, kindOf, kindOfCode, retryAfterOf } from "./failure.js";
import { createGate, type Gate } from "./gate.js";
import { distrustSizes, timingOf } from "./timing.js";

/** Metadata of an image. */
export interface ImageMeta {
  image_id: string;
  content_type?: string | null;
  width?: number | null;
  height?: number | null;
  version?: string | null;
  color?: string | null;
  placeholder?: string | null;
  styles?: Record<string, { widths: number[]; formats: string[]; url?: string }>;
}

/**
 * A presigned URL and its expiry (Unix seconds), with `meta` if the gateway offers it. Both are null if originals are for
 * owners alone.
 */
export interface ImageUrl {
  url: string | null;
  expires_at: number | null;
  meta?: ImageMeta;
}

interface Batch {
  urls: Record<string, ImageUrl>;
  errors: Record<string, string>;
}

const API = "/api/v1/images/";
const TIMEOUT = 15_000;

/** What is known of the current user. */
interface User {
  token?: string | null | undefined;
  renewal?: Promise<void>;
}

/** Client of one gateway: its gate, URL cache and API calls. */
export interface Gateway {
  readonly base: string;
  readonly gate: Gate;
  readonly cache: ImageCache<ImageUrl>;
  /**
   * Return a presigned URL, from the cache if possible. `withMeta`: with the metadata, for which the gateway may have to ask
   * COS. Rejects with `ImageLoadError`.
   */
  url(id: string, withMeta?: boolean): Promise<ImageUrl>;
  /** Return a presigned URL other than `dead`: the gateway's newest one, else a new one. */
  freshUrl(id: string, dead: string): Promise<ImageUrl>;
  /** Request a new URL. Only the owner and the administrator may. */
  refresh(id: string): Promise<ImageUrl>;
  /** Return the metadata, or undefined if the gateway does not offer it. */
  meta(id: string): Promise<ImageMeta | undefined>;
  /** Get a new token from the page. Concurrent callers share one renewal. */
  renewToken(): Promise<void>;
  /** The user has changed: forget token and URLs. Calls in flight are made again, as the new user. */
  forget(): void;
  /** Whether a HEAD of `address` is answered without a transient error. */
  probe(address: string): Promise<boolean>;
  /**
   * Find out why `address` failed, by Resource Timing. If that has no status of a failure, and `mayAsk`, send a HEAD: one
   * at a time, and none while the gate is closed. The failure of the image `id` is counted against the gateway.
   */
  diagnose(
    address: string,
    id: string | null,
    since: number,
    mayAsk: boolean,
    signal: AbortSignal,
  ): Promise<ImageLoadError>;
  /** Report an outcome to the gate: a transient failure counts against the gateway, any other one is an answer. */
  report(failure: ImageLoadError, id: string | null): void;
}

/** Make the client of the gateway at `base`, which has no trailing slash. */
export function createGateway(base: string): Gateway {
  const gate = createGate();
  const cache = createCache<ImageUrl>(() => config.cache);
  const batch = () => config.batch;
  const askForUrl = createBatcher<ImageUrl>((ids) => askForUrls(ids), batch);
  const askForMeta = createBatcher<ImageUrl>((ids) => askForUrls(ids, ["meta"]), batch);
  let diagnosis: Promise<unknown> = Promise.resolve();
  let user: User = {};
  let hasMeta = true;
  forgetters.push(forget);

  // After a 401 the token is renewed once.
  async function call<T>(path: string, body: object): Promise<T> {
    for (let renewed: User | undefined; ; ) {
      const asking = user;
      const { getToken, credentials } = secretsFor(base);
      if (getToken) asking.token ??= await getToken({ renew: false });
      const token = getToken && asking.token;
      try {
        const answer = await fetch(base + API + path, {
          method: "POST",
          headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
          credentials: credentials ?? "same-origin",
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(TIMEOUT),
        });
        if (!answer.ok) throw failureOf(answer);
        const { data } = (await answer.json()) as { data: T };
        if (asking === user) return data;
      } catch (error) {
        if (asking !== user) continue;
        const failure = asFailure(error);
        if (renewed === user || !getToken || failure.kind !== "unauthorized") throw failure;
        renewed = user;
        await renewToken();
      }
    }
  }

  function renewToken(): Promise<void> {
    const asking = user;
    asking.renewal ??= (async () => {
      asking.token = await secretsFor(base).getToken?.({ renew: true });
    })().finally(() => delete asking.renewal);
    return asking.renewal;
  }

  function forget(): void {
    user = {};
    cache.clear();
  }

  async function askForUrls(image_ids: string[], include?: string[]): Promise<Map<string, ImageUrl | Error>> {
    const answers = new Map<string, ImageUrl | Error>();
    const ask = async (image_ids: string[]) => {
      const { urls, errors } = await call<Batch>("urls", { image_ids, include });
      for (const [id, code] of Object.entries(errors)) answers.set(id, new ImageLoadError(kindOfCode(code)));
      for (const [id, found] of Object.entries(urls)) {
        if (include) hasMeta = !!found.meta;
        answers.set(id, keep(id, found));
      }
      return image_ids.filter((id) => errors[id] === "unauthorized");
    };
    // For a rejected token the batch call answers 200, with the error of each id.
    const refused = await ask(image_ids);
    if (refused.length && secretsFor(base).getToken) {
      await renewToken();
      await ask(refused);
    }
    return answers;
  }

  /** Put a URL into the cache; return it with the metadata that is known. */
  function keep(id: string, found: ImageUrl): ImageUrl {
    const meta = cache.peek(id)?.meta;
    const made = { ...(meta && { meta }), ...found };
    cache.set(id, made, made.expires_at);
    return made;
  }

  function mayHaveMeta(): boolean {
    return hasMeta && config.batch?.meta !== false;
  }

  async function url(id: string, withMeta?: boolean): Promise<ImageUrl> {
    const isAsked = withMeta && mayHaveMeta();
    const known = cache.get(id);
    return known && (known.meta || !isAsked) ? known : (isAsked ? askForMeta : askForUrl)(id);
  }

  async function refresh(id: string): Promise<ImageUrl> {
    if (!isImageId(id)) throw new ImageLoadError("invalid");
    return keep(id, await call<ImageUrl>(`${id}/url/refresh`, {}));
  }

  /** Send a HEAD. `received`: bytes that an `<img>` got of the body, 0 if unknown; without it only the status counts. */
  function head(address: string, received?: () => number): Promise<ImageLoadError> {
    const { credentials = "same-origin" } = secretsFor(base);
    const signal = AbortSignal.timeout(TIMEOUT);
    return fetch(address, { method: "HEAD", cache: "no-store", credentials, signal }).then((answer) => {
      const failure = failureOf(answer, received?.());
      // The `<img>` has sent cookies, with which the answer may be another one.
      const isAnonymous = received !== undefined && answer.type === "cors" && credentials !== "include";
      const isRefusal = /unauth|ref|found/.test(failure.kind) && /cookie/i.test(`${answer.headers.get("Vary")}`);
      return isAnonymous && isRefusal ? asFailure(0) : failure;
    }, asFailure);
  }

  function report({ kind, retryAfter }: ImageLoadError, id: string | null): void {
    if (isTransient(kind)) gate.failed(id, retryAfter);
    else gate.succeeded();
  }

  return {
    base,
    gate,
    cache,
    url,
    refresh,
    renewToken,
    forget,
    report,
    async freshUrl(id, dead) {
      if (cache.peek(id)?.url === dead) cache.invalidate(id);
      const newest = await url(id);
      return newest.url === dead ? refresh(id) : newest;
    },
    async meta(id) {
      return mayHaveMeta() ? (await url(id, true)).meta : undefined;
    },
    async probe(address) {
      return !isTransient((await head(address)).kind);
    },
    async diagnose(address, id, since, mayAsk, signal) {
      const entry = timingOf(address, since);
      const status = entry?.responseStatus ?? 0;
      const known = new ImageLoadError(kindOf(status, false), status || null);
      // For the page's own origin the status is never hidden: 0 means no answer. WebKit has no status.
      const isTold = status >= 400 || (entry?.responseStatus === 0 && address.startsWith(`${location.origin}/`));
      // Resource Timing has no Retry-After.
      if (!mayAsk || (isTold && !/unavailable|throttled/.test(known.kind))) return known;
      const found = diagnosis.then(async () => {
        if (gate.closed || signal.aborted || !navigator.onLine) return known;
        // Asked for when HEAD is answered: Firefox has no entry yet when the image fails. For bytes that it keeps from an
        // earlier attempt it has the entry of that attempt.
        const failure = await head(address, () => timingOf(address)?.encodedBodySize ?? 0);
        if (failure.kind === "decode") distrustSizes();
        report(failure, id); // before the next HEAD
        return failure.kind === "network" ? known : failure;
      });
      diagnosis = found;
      return found;
    },
  };
}

/** Return the error as a failure to load; any other error means that there was no answer. */
export function asFailure(error: unknown): ImageLoadError {
  if (error instanceof ImageLoadError) return error;
  return new ImageLoadError((error as Error)?.name === "TimeoutError" ? "timeout" : "network");
}

function failureOf({ status, headers }: Response, received = Infinity): ImageLoadError {
  const retryAfter = retryAfterOf(headers.get("Retry-After"), Date.now());
  const isWhole = received >= (Number(headers.get("Content-Length")) || Infinity);
  return new ImageLoadError(kindOf(status, isWhole), status, headers.get("X-Request-Id"), retryAfter);
}
