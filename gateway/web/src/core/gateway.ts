import { proxyAddress } from "./addresses.js";
import { Batcher } from "./batch.js";
import { ImageCache } from "./cache.js";
import { baseUrlOf, config } from "./config.js";
import { ImageLoadError, isTransient, kindOf, kindOfCode, retryAfterOf } from "./failure.js";
import { Gate } from "./gate.js";

/** What the gateway knows of an image beside its bytes. */
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

/** A presigned URL and its end (Unix seconds); `meta` where the gateway offers it. */
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

/** One gateway as a page sees it: its gate, its cache, its calls. */
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

  /** A presigned URL, from the cache if there is a live one. Rejects with `ImageLoadError`. */
  async url(id: string, rank?: number): Promise<ImageUrl> {
    return this.cache.get(id) ?? (await this.#urls.load(id, rank));
  }

  /** A presigned URL other than `dead`: the gateway's own newest, else one that it makes now. */
  async freshUrl(id: string, dead?: string): Promise<ImageUrl> {
    if (dead && this.cache.peek(id)?.url !== dead) return this.url(id);
    this.cache.invalidate(id);
    const newest = dead && (await this.#urls.load(id));
    return newest && newest.url !== dead ? newest : this.refresh(id);
  }

  /** Have the gateway make a new URL now: for the owner and the administrator. */
  async refresh(id: string): Promise<ImageUrl> {
    const made = await this.call<ImageUrl>(`${API}${id}/url/refresh`, {});
    this.cache.set(id, made, made.expires_at);
    return made;
  }

  /** What the gateway knows of the image; undefined where it tells nothing. */
  async meta(id: string, rank?: number): Promise<ImageMeta | undefined> {
    return this.#hasMeta && config.batch?.meta !== false ? (await this.url(id, rank)).meta : undefined;
  }

  /** Call the API with the token, renewed once if it is refused; `body` makes it a POST. */
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

  /** Ask the page for another token; one renewal is shared by all that need it. */
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

  /** Whether `address` is answered with anything but trouble. */
  probe(address: string): Promise<boolean> {
    return this.#head(address).then((failure) => !isTransient(failure.kind));
  }

  /** Why `address` failed: one HEAD, one at a time, and none once the gate is closed, when it is known already. */
  diagnose(address: string): Promise<ImageLoadError> {
    const diagnosis = this.#diagnosis.then(async () => {
      if (this.gate.closed || globalThis.navigator?.onLine === false) return new ImageLoadError("network");
      const failure = await this.#head(address);
      this.report(failure, address);
      return failure;
    });
    this.#diagnosis = diagnosis;
    return diagnosis;
  }

  /** Let the gate know of a failure, or of an answer that shows the gateway to be well. */
  report(failure: ImageLoadError, what: string): void {
    if (this.#reported.has(failure)) return;
    this.#reported.add(failure);
    const { kind, retryAfter } = failure;
    if (isTransient(kind)) this.gate.failed(what, retryAfter);
    else this.gate.succeeded();
  }

  #head(address: string): Promise<ImageLoadError> {
    return this.#fetch(address, { method: "HEAD", cache: "no-store" }).then(
      failureOf,
      (error: ImageLoadError) => error,
    );
  }

  async #send<T>(path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = {};
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const init: RequestInit = { headers, credentials: config.credentials ?? "same-origin" };
    if (body) {
      headers["Content-Type"] = "application/json";
      init.method = "POST";
      init.body = JSON.stringify(body);
    }
    const answer = await this.#fetch(this.base + path, init);
    if (!answer.ok) throw failureOf(answer);
    return ((await answer.json()) as Envelope<T>).data;
  }

  async #fetch(address: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(address, { ...init, signal: AbortSignal.timeout(TIMEOUT) });
    } catch {
      throw new ImageLoadError("network");
    }
  }

  async #askForUrls(ids: string[]): Promise<Map<string, ImageUrl | Error>> {
    const ask = (image_ids: string[]) =>
      this.call<{ urls: Record<string, ImageUrl>; errors: Record<string, string> }>(`${API}urls`, {
        image_ids,
        ...(config.batch?.meta !== false && { include: ["meta"] }),
      });
    const { urls, errors } = await ask(ids);
    // A refused token is told for each id, in an answer that is a success as a whole.
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

function failureOf({ status, headers }: Response): ImageLoadError {
  return new ImageLoadError(
    kindOf(status),
    status,
    headers.get("X-Request-Id"),
    retryAfterOf(headers.get("Retry-After")),
  );
}

const gateways = new Map<string, Gateway>();

/** The one `Gateway` of a page for an address. */
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

/** Calls of the gateway for scripts: the image service of a page. */
export const imageProxy = {
  /** A presigned URL and its end. */
  url: (id: string): Promise<ImageUrl> => gatewayAt().url(id),
  /** The address that never expires; asks nobody. */
  proxyUrl: (id: string, options?: Parameters<typeof proxyAddress>[2]): string =>
    proxyAddress(baseUrlOf(), id, options),
  /** Many URLs in as few calls as can be: for each id the URL, or why there is none. */
  batch: async (ids: readonly string[]): Promise<Map<string, ImageUrl | ImageLoadError>> => {
    const gateway = gatewayAt();
    const answers = ids.map((id) => gateway.url(id).catch((error: ImageLoadError) => error));
    return new Map((await Promise.all(answers)).map((answer, index) => [ids[index] as string, answer]));
  },
  /** A URL made this moment: for the owner of the image. */
  refresh: (id: string): Promise<ImageUrl> => gatewayAt().refresh(id),
  /** What the gateway knows of the image; undefined where it tells nothing. */
  meta: (id: string): Promise<ImageMeta | undefined> => gatewayAt().meta(id),
};

function wakeWithThePage(gate: Gate): void {
  const wake = () => gate.wake();
  globalThis.addEventListener?.("online", wake);
  globalThis.addEventListener?.("pageshow", (event) => event.persisted && wake());
  globalThis.document?.addEventListener("visibilitychange", () => document.hidden || wake());
}
