import { proxyAddress } from "./addresses.js";
import { Batcher } from "./batch.js";
import { ImageCache } from "./cache.js";
import { baseUrlOf, config } from "./config.js";
import { ImageLoadError, isTransient, kindOf, kindOfCode, retryAfterOf } from "./failure.js";
import { Gate } from "./gate.js";

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

/** A presigned URL and its expiry (Unix seconds), with `meta` if the gateway offers it. */
export interface ImageUrl {
  url: string;
  expires_at: number;
  meta?: ImageMeta;
}

interface Envelope<T> {
  data: T;
}

const API = "/api/v1/images/";
const TIMEOUT = 15_000;

/** Client of one gateway: its gate, URL cache and API calls. */
export class Gateway {
  readonly gate = new Gate();
  readonly cache = new ImageCache<ImageUrl>(() => config.cache);
  readonly #urls = new Batcher<ImageUrl>(
    (ids) => this.#askForUrls(ids),
    () => config.batch,
  );
  #diagnosis: Promise<unknown> = Promise.resolve();
  #token: string | null | undefined;
  #tokenRenewal: Promise<void> | undefined;
  #hasMeta = true;
  readonly #reported = new WeakSet<ImageLoadError>();

  constructor(readonly base: string) {}

  /** Return a presigned URL, from the cache if possible. Rejects with `ImageLoadError`. */
  async url(id: string, rank?: number): Promise<ImageUrl> {
    return this.cache.get(id) ?? (await this.#urls.load(id, rank));
  }

  /** Return a presigned URL other than `dead`: the gateway's newest one, else a new one. */
  async freshUrl(id: string, dead?: string): Promise<ImageUrl> {
    if (dead && this.cache.peek(id)?.url !== dead) return this.url(id);
    this.cache.invalidate(id);
    const newest = dead && (await this.#urls.load(id));
    return newest && newest.url !== dead ? newest : this.refresh(id);
  }

  /** Request a new URL. Only the owner and the administrator may. */
  async refresh(id: string): Promise<ImageUrl> {
    const made = await this.call<ImageUrl>(`${API}${id}/url/refresh`, {});
    this.cache.set(id, made, made.expires_at);
    return made;
  }

  /** Return the metadata, or undefined if the gateway does not offer it. */
  async meta(id: string, rank?: number): Promise<ImageMeta | undefined> {
    return this.#hasMeta && config.batch?.meta !== false ? (await this.url(id, rank)).meta : undefined;
  }

  /** Call the API and return `data`. After a 401 the token is renewed once. `body` makes it a POST. */
  async call<T>(path: string, body?: unknown): Promise<T> {
    for (let renewed = false; ; renewed = true) {
      this.#token ??= await config.getToken?.({ renew: false });
      try {
        return await this.#send<T>(path, body);
      } catch (error) {
        if (renewed || !config.getToken || (error as ImageLoadError).kind !== "unauthorized") throw error;
        await this.renewToken();
      }
    }
  }

  /** Get a new token from the page. Concurrent callers share one renewal. */
  renewToken(): Promise<void> {
    this.#tokenRenewal ??= (async () => {
      try {
        this.#token = await config.getToken?.({ renew: true });
      } finally {
        this.#tokenRenewal = undefined;
      }
    })();
    return this.#tokenRenewal;
  }

  /** Whether a HEAD of `address` is answered without a transient error. */
  probe(address: string): Promise<boolean> {
    return this.#head(address).then((failure) => !isTransient(failure.kind));
  }

  /** Find out by HEAD why `address` failed. One HEAD is sent at a time, and none while the gate is closed. */
  diagnose(address: string, signal?: AbortSignal): Promise<ImageLoadError> {
    const diagnosis = this.#diagnosis.then(async () => {
      if (this.gate.closed || signal?.aborted || globalThis.navigator?.onLine === false) {
        return new ImageLoadError("network");
      }
      const failure = await this.#head(address);
      this.report(failure, address);
      return failure;
    });
    this.#diagnosis = diagnosis;
    return diagnosis;
  }

  /** Tell the gate: a transient failure counts against the gateway, any other one is an answer. */
  report(failure: ImageLoadError, what: string): void {
    if (this.#reported.has(failure)) return;
    this.#reported.add(failure);
    const { kind, retryAfter } = failure;
    if (isTransient(kind)) this.gate.failed(what, retryAfter);
    else this.gate.succeeded();
  }

  #head(address: string): Promise<ImageLoadError> {
    return this.#fetch(address, { method: "HEAD", cache: "no-store" }, failureOf).catch(asFailure);
  }

  #send<T>(path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = {};
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const init: RequestInit = { headers, credentials: config.credentials ?? "same-origin" };
    if (body) {
      headers["Content-Type"] = "application/json";
      init.method = "POST";
      init.body = JSON.stringify(body);
    }
    return this.#fetch(this.base + path, init, async (answer) => {
      if (!answer.ok) throw failureOf(answer);
      return ((await answer.json()) as Envelope<T>).data;
    });
  }

  async #fetch<T>(address: string, init: RequestInit, read: (answer: Response) => T | Promise<T>): Promise<T> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      return await read(await fetch(address, { ...init, signal: abort.signal }));
    } catch (error) {
      throw asFailure(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #askForUrls(ids: string[]): Promise<Map<string, ImageUrl | Error>> {
    const ask = (image_ids: string[]) =>
      this.call<{ urls: Record<string, ImageUrl>; errors: Record<string, string> }>(`${API}urls`, {
        image_ids,
        ...(config.batch?.meta !== false && { include: ["meta"] }),
      });
    const { urls, errors } = await ask(ids);
    // For a rejected token the batch call answers 200, with the error of each id.
    const refused = Object.keys(errors).filter((id) => errors[id] === "unauthorized");
    if (refused.length && config.getToken) {
      await this.renewToken();
      const again = await ask(refused);
      for (const id of refused) delete errors[id];
      Object.assign(urls, again.urls);
      Object.assign(errors, again.errors);
    }
    const answers = new Map<string, ImageUrl | Error>();
    for (const [id, found] of Object.entries(urls)) {
      this.#hasMeta = !!found.meta;
      this.cache.set(id, found, found.expires_at);
      answers.set(id, found);
    }
    for (const [id, code] of Object.entries(errors)) answers.set(id, new ImageLoadError(kindOfCode(code)));
    return answers;
  }
}

function asFailure(error: unknown): ImageLoadError {
  return error instanceof ImageLoadError ? error : new ImageLoadError("network");
}

function failureOf({ status, headers }: Response): ImageLoadError {
  return new ImageLoadError(
    kindOf(status),
    status,
    headers.get("X-Request-Id"),
    retryAfterOf(headers.get("Retry-After")),
  );
}

const gateways = new Map<string, Gateway>();

/** Return the page's `Gateway` for an address. */
export function gatewayAt(base?: string | null): Gateway {
  const address = baseUrlOf(base);
  let gateway = gateways.get(address);
  if (!gateway) {
    gateway = new Gateway(address);
    gateways.set(address, gateway);
    wakeWithThePage(gateway.gate);
  }
  return gateway;
}

/** The gateway's API for scripts. */
export const imageProxy = {
  /** Return a presigned URL and its expiry. */
  url: (id: string): Promise<ImageUrl> => gatewayAt().url(id),
  /** Return the permanent address, without a request. */
  proxyUrl: (id: string, options?: Parameters<typeof proxyAddress>[2]): string =>
    proxyAddress(baseUrlOf(), id, options),
  /** Return for each id its URL or its error, with as few calls as possible. */
  batch: async (ids: readonly string[]): Promise<Map<string, ImageUrl | ImageLoadError>> => {
    const gateway = gatewayAt();
    const answers = ids.map((id) => gateway.url(id).catch((error: ImageLoadError) => error));
    return new Map((await Promise.all(answers)).map((answer, index) => [ids[index] as string, answer]));
  },
  /** Request a new URL. Only the owner may. */
  refresh: (id: string): Promise<ImageUrl> => gatewayAt().refresh(id),
  /** Return the metadata, or undefined if the gateway does not offer it. */
  meta: (id: string): Promise<ImageMeta | undefined> => gatewayAt().meta(id),
};

function wakeWithThePage(gate: Gate): void {
  const wake = () => gate.wake();
  globalThis.addEventListener?.("online", wake);
  globalThis.addEventListener?.("pageshow", (event) => event.persisted && wake());
  globalThis.document?.addEventListener("visibilitychange", () => document.hidden || wake());
}
