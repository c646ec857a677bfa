import { type Failure, failureOf, failureOfCall, kindOfCode } from "./answers.js";
import { createBatcher } from "./batch.js";
import { createCache, type ImageCache } from "./cache.js";
import type { SmartImageConfig } from "./config.js";
import type { asFailure, ImageLoadError, isTransient } from "./failure.js";

/** Metadata of an image. */
export interface ImageMeta {
  image_id: string;
  content_type?: string | null;
  width?: number | null;
  height?: number | null;
  version?: string | null;
  color?: string | null;
  placeholder?: string | null;
  styles?: Record<string, { widths: number[]; formats: string[]; ratios?: string[]; url?: string }>;
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

/** Calls that scripts may make. They reject with `ImageLoadError`. */
export interface Calls {
  /** Return a presigned URL, from the cache if possible. */
  url(id: string): Promise<ImageUrl>;
  /** Return for each id its URL or its error. */
  batch(ids: readonly string[]): Promise<Map<string, ImageUrl | ImageLoadError>>;
  /** Request a new URL. Only the owner and the administrator may. */
  refresh(id: string): Promise<ImageUrl>;
  /** Return the metadata, or undefined if the gateway does not offer it. */
  meta(id: string): Promise<ImageMeta | undefined>;
}

/** API calls to one gateway, and the cache of its URLs. */
export interface Api extends Calls {
  readonly cache: ImageCache<ImageUrl>;
  /**
   * Return a presigned URL other than `dead`: the gateway's newest one, else a new one. `withMeta`: with the metadata, for
   * which the gateway may have to ask COS. Return undefined if there is none for this visitor; `hasStyle`: who gets the image
   * in a style.
   */
  urlFor(
    id: string,
    dead: string | null | undefined,
    withMeta: boolean,
    hasStyle: boolean,
  ): Promise<ImageUrl | undefined>;
  /** Get a new token from the page. Concurrent callers share one renewal. */
  renew(): Promise<void>;
  /** The user has changed: forget token and URLs. Calls in flight are made again, as the new user. */
  forget(): void;
}

/** What a module that is loaded later uses of the others. */
export type Tools = [
  secretsFor: (base: string) => Pick<SmartImageConfig, "credentials" | "getToken">,
  Failed: Failure,
  toFailure: typeof asFailure,
  isPassing: typeof isTransient,
];

/**
 * Make the client of the gateway at `base`, which has no trailing slash. It adds what forgets the user to `forgetters`.
 */
export function createApi(
  base: string,
  config: SmartImageConfig,
  forgetters: (() => void)[],
  isImageId: (id: string) => boolean,
  ...[secretsFor, Failed, toFailure, isPassing]: Tools
): Api {
  const cache = createCache<ImageUrl>(() => config.cache);
  const batch = () => config.batch;
  const askForUrl = createBatcher<ImageUrl>((ids) => askForUrls(ids), batch);
  const askForMeta = createBatcher<ImageUrl>((ids) => askForUrls(ids, ["meta"]), batch);
  let user: User = {};
  /** Whether the gateway offers metadata; undefined until it has answered. */
  let hasMeta: boolean | undefined;
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
        if (!answer.ok) throw failureOf(Failed, answer);
        const { data } = (await answer.json()) as { data: T };
        if (asking === user) return data;
      } catch (error) {
        if (asking !== user) continue;
        const failure = failureOfCall(Failed, toFailure, error);
        if (renewed === user || !getToken || failure.kind !== "unauthorized") throw failure;
        renewed = user;
        await renew();
      }
    }
  }

  function renew(): Promise<void> {
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
      for (const [id, code] of Object.entries(errors)) answers.set(id, new Failed(kindOfCode(code)));
      const found = Object.entries(urls);
      // An image that is deleted meanwhile has none.
      if (include && found[0]) hasMeta ||= found.some(([, { meta }]) => meta);
      for (const [id, made] of found) answers.set(id, keep(id, made));
      return image_ids.filter((id) => errors[id] === "unauthorized");
    };
    // For a rejected token the batch call answers 200, with the error of each id.
    const refused = await ask(image_ids);
    if (refused.length && secretsFor(base).getToken) {
      await renew();
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
    return hasMeta !== false && config.batch?.meta !== false;
  }

  async function url(id: string, withMeta?: boolean): Promise<ImageUrl> {
    const isAsked = withMeta && mayHaveMeta();
    const known = cache.get(id);
    return known && (known.meta || !isAsked) ? known : (isAsked ? askForMeta : askForUrl)(id);
  }

  async function refresh(id: string): Promise<ImageUrl> {
    if (!isImageId(id)) throw new Failed("invalid");
    return keep(id, await call<ImageUrl>(`${id}/url/refresh`, {}));
  }

  async function fresh(id: string, dead: string): Promise<ImageUrl> {
    if (cache.peek(id)?.url === dead) cache.invalidate(id);
    const newest = await url(id);
    return newest.url === dead ? refresh(id) : newest;
  }

  return {
    cache,
    url: (id) => url(id),
    refresh,
    renew,
    forget,
    batch: async (ids) =>
      new Map(await Promise.all(ids.map(async (id) => [id, await url(id).catch(toFailure)] as const))),
    async urlFor(id, dead, withMeta, hasStyle) {
      try {
        return await (dead ? fresh(id, dead) : url(id, withMeta));
      } catch (error) {
        // Originals may be for owners alone, and new URLs always are.
        const failure = toFailure(error);
        if (isPassing(failure.kind) || !(dead || (hasStyle && failure.kind === "not_found"))) throw error;
        return undefined;
      }
    },
    async meta(id) {
      return mayHaveMeta() ? (await url(id, true)).meta : undefined;
    },
  };
}
