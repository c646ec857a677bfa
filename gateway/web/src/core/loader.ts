import { proxyAddress, type VariantOptions } from "./addresses.js";
import { config } from "./config.js";
import { actionFor, type FailureKind, ImageLoadError, isTransient } from "./failure.js";
import { type Gateway, gatewayAt, type ImageMeta } from "./gateway.js";
import type { BytesSource } from "./monitor.js";
import type { Report } from "./reporting.js";
import { backoff, type RetryOptions } from "./retry.js";
import { abortable, sleep } from "./sleep.js";

/** State of a load. */
export type LoadState = "idle" | "loading" | "loaded" | "retrying" | "failed" | "offline" | "fallback";

/** What to load, and how: the image `id`, or the address `src` if `id` is null. */
export interface LoadRequest {
  id: string | null;
  src: string | null;
  viaUrl: boolean;
  base: string | null;
  variant: VariantOptions;
  retry: RetryOptions;
  /** Limit of one attempt in ms; 0 for none. */
  timeout: number;
  fallback: string | null;
  report: Report | undefined;
  /** Distance from the viewport in px: near images come first in batch calls. */
  rank: number;
}

/** Address of the bytes. `expiresAt` in Unix seconds; null if the address does not expire. */
export interface Source {
  address: string;
  variant: VariantOptions;
  expiresAt: number | null;
}

/** Displays an image and is told about its load. */
export interface LoaderView {
  /** Display the source. Rejects with an `ImageLoadError` if it cannot be loaded. */
  show(source: Source, signal: AbortSignal): Promise<BytesSource>;
  /** Display the fallback image; return whether it could be loaded. */
  showFallback(address: string, signal: AbortSignal): Promise<boolean>;
  described(meta: ImageMeta): void;
  changed(from: LoadState, to: LoadState): void;
  retrying(attempt: number, delay: number, reason: FailureKind): void;
  recovered(attempts: number, outage: number): void;
  loaded(): void;
  gaveUp(failure: ImageLoadError): void;
}

// ms of waiting at the gate after which the state becomes `failed`; the load goes on in the background.
const OUTAGE_LIMIT = 60_000;

/** Loads one image: resolves its address, displays it, and handles failures. */
export class Loader {
  state: LoadState = "idle";
  attempt = 0;
  expiresAt: number | null = null;
  lastError: ImageLoadError | null = null;
  #abort: AbortController | undefined;

  constructor(private readonly view: LoaderView) {}

  /** Cancel the current load and start this one. `fresh` bypasses caches. */
  start(request: LoadRequest, fresh = false): void {
    this.stop();
    this.#abort = new AbortController();
    const run = new Run(this, this.view, request, this.#abort.signal);
    run.go(fresh).catch((error: unknown) => {
      if (!run.signal.aborted) reportError(error);
    });
  }

  /** Cancel the current load silently. */
  stop(): void {
    this.#abort?.abort();
  }

  /** Change the state and tell the view. */
  become(state: LoadState): void {
    const from = this.state;
    if (from === state) return;
    this.state = state;
    this.view.changed(from, state);
  }
}

class Run {
  readonly #gateway: Gateway;
  #link: string | null | undefined;
  #dead: string | undefined;
  #authorized = false;
  #renewed = false;
  #refused = false;
  #gaveUp = false;
  #outageBegan = 0;

  constructor(
    private readonly loader: Loader,
    private readonly view: LoaderView,
    private readonly request: LoadRequest,
    readonly signal: AbortSignal,
  ) {
    this.#gateway = gatewayAt(
      request.id === null && request.src ? new URL(request.src, document.baseURI).origin : request.base,
    );
  }

  async go(fresh: boolean): Promise<void> {
    const { loader, view, request, signal } = this;
    loader.attempt = 0;
    loader.become("loading");
    if (fresh && request.id !== null && request.viaUrl) {
      // Only the owner may request a new URL; others use the newest one.
      await this.#gateway.freshUrl(request.id).catch(() => undefined);
      signal.throwIfAborted();
    }
    const began = performance.now();
    for (;;) {
      await this.#enterGate();
      loader.attempt++;
      try {
        const source = await this.#resolve(fresh);
        const bytes = await this.#show(source);
        signal.throwIfAborted();
        this.#gateway.gate.succeeded();
        loader.expiresAt = source.expiresAt;
        loader.lastError = null;
        loader.become("loaded");
        view.loaded();
        const recovered = loader.attempt > 1 || this.#outageBegan > 0;
        if (recovered) view.recovered(loader.attempt, Math.round(performance.now() - this.#outageBegan));
        const seconds = (performance.now() - began) / 1000;
        request.report?.({ result: recovered ? "recovered" : "loaded", seconds, source: bytes });
        return;
      } catch (error) {
        signal.throwIfAborted();
        const failure = error instanceof ImageLoadError ? error : new ImageLoadError("server");
        if (failure === error) this.#gateway.report(failure, request.id ?? request.src ?? "");
        else reportError(error); // getToken or getLink of the page threw: report it, and retry
        this.#outageBegan ||= performance.now();
        loader.lastError = failure;
        if (!(await this.#mayGoOn(failure))) return;
      }
    }
  }

  /** Handle a failure; return false if the load is over. */
  async #mayGoOn(failure: ImageLoadError): Promise<boolean> {
    const { loader, request, signal, view } = this;
    const action = actionFor(failure.kind, request.viaUrl);
    const usedUp = loader.attempt > request.retry.max;
    if (action === "authorize" && !this.#authorized && (config.getLink || config.getToken)) {
      this.#authorized = true;
      this.#link = undefined;
      if (!config.getLink) await this.#gateway.renewToken();
      return true;
    }
    if (isTransient(failure.kind) && globalThis.navigator?.onLine === false) {
      loader.attempt--;
      loader.become("offline");
      await abortable(signal, (resolve) => {
        addEventListener("online", resolve);
        return () => removeEventListener("online", resolve);
      });
      loader.become("retrying");
      return true;
    }
    if (action === "stop" || action === "authorize" || usedUp) {
      await this.#giveUp(failure);
      if (!isTransient(failure.kind)) return false;
      // Try again when the gateway answers, the network is back or the page is visible again.
      const { gate } = this.#gateway;
      if (!gate.closed) await abortable<void>(signal, (resolve) => gate.onOpen(resolve));
      loader.attempt = 0;
      return true;
    }
    if (action === "renew" && !this.#renewed) {
      this.#renewed = true; // an expired URL is not an outage: request the first new one without delay
      return true;
    }
    const delay = Math.round((failure.retryAfter ?? 0) + backoff(loader.attempt, request.retry));
    loader.become("retrying");
    view.retrying(loader.attempt, delay, failure.kind);
    request.report?.(failure.kind);
    await sleep(delay, signal);
    return true;
  }

  async #giveUp(failure: ImageLoadError): Promise<void> {
    const { loader, view, request, signal } = this;
    const told = this.#gaveUp;
    this.#gaveUp = true;
    const stands = request.fallback !== null && (await view.showFallback(request.fallback, signal));
    signal.throwIfAborted();
    loader.become(stands ? "fallback" : "failed");
    if (told) return;
    view.gaveUp(failure);
    request.report?.({ result: stands ? "fallback" : "failed", seconds: null });
  }

  async #enterGate(): Promise<void> {
    const { gate, base } = this.#gateway;
    if (!gate.closed) return;
    if (!this.#gaveUp) this.loader.become("retrying");
    const failure = this.loader.lastError ?? new ImageLoadError("network");
    const patience = setTimeout(() => void this.#giveUp(failure).catch(() => undefined), OUTAGE_LIMIT);
    try {
      const { id, src, viaUrl } = this.request;
      const address =
        viaUrl || id === null ? (src ?? `${base}/healthz`) : proxyAddress(base, id, { link: this.#link ?? null });
      await gate.enter(() => this.#gateway.probe(address), this.signal);
    } finally {
      clearTimeout(patience);
    }
  }

  async #resolve(fresh: boolean): Promise<Source> {
    const { id, src, viaUrl, variant, rank } = this.request;
    if (id === null) return { address: src ?? "", variant, expiresAt: null };
    if (viaUrl && !this.#refused) {
      try {
        const found =
          this.#dead === undefined ? await this.#gateway.url(id, rank) : await this.#gateway.freshUrl(id, this.#dead);
        if (found.meta) this.view.described(found.meta);
        this.#dead = found.url;
        return { address: found.url, variant, expiresAt: found.expires_at };
      } catch (error) {
        // Only the owner may request a new URL. Others get the image at its permanent address.
        if (this.#dead === undefined || isTransient((error as ImageLoadError).kind)) throw error;
        this.#refused = true;
      }
    }
    const link = await this.#linkOf(id);
    const version = fresh ? Date.now().toString(36) : variant.version;
    const wanted = { ...variant, link, ...(version && { version }) };
    return { address: proxyAddress(this.#gateway.base, id, wanted), variant: wanted, expiresAt: null };
  }

  async #linkOf(id: string): Promise<string | null> {
    if (this.#link === undefined) {
      const given = this.#authorized ? null : this.request.variant.link;
      const made = given ?? (await config.getLink?.(id, { renew: this.#authorized })) ?? null;
      this.#link = typeof made === "string" || made === null ? made : made.url;
    }
    return this.#link;
  }

  async #show(source: Source): Promise<BytesSource> {
    const { timeout } = this.request;
    if (!timeout) return this.view.show(source, this.signal);
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new ImageLoadError("timeout")), timeout);
    try {
      return await this.view.show(source, AbortSignal.any([this.signal, abort.signal]));
    } finally {
      clearTimeout(timer);
    }
  }
}
