import { candidates, isImageId, proxyAddress } from "./addresses.js";
import { baseUrlOf, config, originOf, secretsFor } from "./config.js";
import { actionFor, ImageLoadError, isTransient } from "./failure.js";
import { asFailure, type ImageMeta } from "./gateway.js";
import { gatewayAt } from "./image-proxy.js";
import type { Loader, LoaderView, LoadRequest, Source } from "./loader.js";
import { longestDelay } from "./retry.js";
import { sleep } from "./sleep.js";
import { isCut } from "./timing.js";

// ms of waiting at the gate after which the state becomes `failed`; the load goes on in the background.
const OUTAGE_LIMIT = 60_000;

// A presigned URL whose time has ended. COS hides its status from pages of other origins.
const EXPIRED = new ImageLoadError("refused");

/** Load one image: resolve its address, display it, and handle failures. Rejects when the signal is aborted. */
export async function load(loader: Loader, view: LoaderView, request: LoadRequest, signal: AbortSignal): Promise<void> {
  const { id, src, viaUrl, variant, widths, formats, retry, timeout, fallback, report, fresh } = request;
  const gateway = gatewayAt(id || !src ? request.base : originOf(src, document.baseURI));
  const { gate, base } = gateway;
  const what = id ?? src ?? "";
  const known = gateway.cache.peek(what);
  let meta: ImageMeta | undefined;
  let url: string | null | undefined;
  let dead = fresh ? known?.url : null;
  let link: string | null | undefined;
  let isAuthorized = false;
  let isRenewed: boolean | undefined;
  let isRefused: boolean | undefined;
  let hasGivenUp: boolean | undefined;
  let outageBegan: number | undefined;
  let source: Source;
  let taken: number;
  // Firefox keeps decoded images, also cut ones, by the whole address.
  let fragment = "";

  /** Handle a failure; return false if the load is over. */
  async function mayGoOn(failure: ImageLoadError): Promise<boolean> {
    const { kind, status, retryAfter } = failure;
    // Browsers hide the status of other origins: a presigned URL that failed without one may have expired.
    if (!status || kind === "refused") dead = url;
    const action = actionFor(kind, viaUrl && !isRefused);
    const { getLink, getToken } = secretsFor(base);
    if (action === "authorize" && !isAuthorized && (getLink || getToken)) {
      isAuthorized = true;
      link = undefined;
      if (!getLink) await gateway.renewToken();
    } else if (isTransient(kind) && !navigator.onLine) {
      loader.attempt--;
      loader.become("offline");
      await gate.wait(probe, signal);
      loader.become("retrying");
    } else if (/stop|authorize/.test(action) || loader.attempt > retry.max) {
      await giveUp(failure);
      if (!isTransient(kind)) return false;
      // Try once more when the gateway answers, the network is back or the page is visible again.
      await gate.wait(probe, signal);
    } else if (action === "renew" && !isRenewed) {
      isRenewed = true; // an expired URL is not an outage: request the first new one without delay
    } else {
      const { attempt } = loader;
      const delay = Math.round((retryAfter ?? 0) + Math.random() * longestDelay(attempt, retry));
      loader.become("retrying");
      view.tell("retry", { attempt, delay, reason: kind });
      report?.(kind);
      await sleep(delay, signal);
    }
    return true;
  }

  async function giveUp(failure: ImageLoadError): Promise<void> {
    const isTold = hasGivenUp;
    hasGivenUp = true;
    const isShown = fallback && !(await display({ url: fallback }).catch(() => fallback));
    signal.throwIfAborted();
    const result = isShown ? "fallback" : "failed";
    loader.lastError = failure;
    loader.become(result);
    if (isTold) return;
    view.tell("error");
    report?.({ result, attempts: loader.attempt, seconds: null });
  }

  async function enterGate(): Promise<void> {
    if (!gate.closed) return;
    if (!hasGivenUp) loader.become("retrying");
    const failure = loader.lastError ?? new ImageLoadError("network");
    const limit = setTimeout(() => void giveUp(failure).catch(() => undefined), OUTAGE_LIMIT);
    await gate.enter(probe, signal).finally(() => clearTimeout(limit));
  }

  function probe(): Promise<boolean> {
    return gateway.probe(id && !viaUrl ? proxyAddress(base, id, { link: link ?? null }) : (src ?? `${base}/healthz`));
  }

  async function resolve(): Promise<Source> {
    if (!id) return { url: what + fragment };
    if (viaUrl && !isRefused) {
      try {
        const found = await (dead ? gateway.freshUrl(id, dead) : gateway.url(id, request.isSizeless));
        describe(found.meta);
        url = found.url;
        if (url) return { url, expiresAt: found.expires_at };
      } catch (error) {
        const { kind } = asFailure(error);
        if (isTransient(kind) || !(dead || (variant.style && kind === "not_found"))) throw error;
      }
      // Originals may be for owners alone, and new URLs always are. Others get the image at its permanent address.
      isRefused = true;
    }
    const { style } = variant;
    let listed = style && base === baseUrlOf() ? config.variants?.[style] : undefined;
    const isIncomplete = style && !widths && !listed && !view.isGiven;
    if (!meta && (request.isSizeless || isIncomplete)) {
      // The load of the image reports the failure.
      const asked = gateway.meta(id).then(describe, () => undefined);
      if (isIncomplete) await asked;
    }
    if (view.isGiven && !fresh) return { url: what };
    if (link === undefined) {
      const given = !isAuthorized && variant.link;
      const made = given || (await secretsFor(base).getLink?.(id, { renew: isAuthorized }));
      link = (typeof made === "object" ? made?.url : made) ?? null;
    }
    if (fresh) fragment = `#${Date.now()}`;
    const options = { ...variant, link, version: variant.version ?? meta?.version ?? null, fragment };
    if (style) listed ??= meta?.styles?.[style];
    return {
      url: proxyAddress(base, id, options),
      isRefetched: fresh,
      candidates: style
        ? candidates(base, id, options, widths ?? listed?.widths ?? [], formats ?? listed?.formats ?? [])
        : [],
    };
  }

  function describe(found: ImageMeta | undefined): void {
    if (!found || signal.aborted) return;
    meta = found;
    view.described(found);
  }

  /** Display a source within the time limit, which begins again while the browser may defer the request. */
  function display(source: Source): Promise<string> {
    const late = new AbortController();
    let isDeferred: boolean | undefined;
    const end = () => {
      const wasDeferred = isDeferred;
      isDeferred = view.isDeferred;
      if (!wasDeferred && !isDeferred) late.abort(new ImageLoadError("timeout"));
    };
    const timer = timeout && setInterval(end, timeout);
    return view.show(source, AbortSignal.any([signal, late.signal])).finally(() => clearInterval(timer));
  }

  /** Display the source, or reject with the reason why it cannot be loaded. */
  async function show(): Promise<void> {
    // The page may have started the first load.
    const since = loader.attempt > 1 ? performance.now() : 0;
    const broken = await display(source);
    if (!broken) return;
    if (isCut(broken)) fragment = `#${Date.now()}`;
    const end = (source.expiresAt ?? 0) * 1000;
    // By a clock that is ahead, each URL has ended before it was taken.
    if (taken < end && end <= Date.now()) throw EXPIRED;
    throw await gateway.diagnose(broken, id, since, !source.expiresAt, signal);
  }

  const began = performance.now();
  loader.attempt = 0;
  loader.become("loading");
  describe(known?.meta);
  if (id && !isImageId(id)) return giveUp(new ImageLoadError("invalid"));
  for (;;) {
    await enterGate();
    signal.throwIfAborted(); // another load may have begun meanwhile
    loader.attempt++;
    try {
      source = await resolve();
      taken = Date.now();
      await show();
      gate.succeeded();
      loader.expiresAt = source.expiresAt ?? null;
      loader.lastError = null;
      loader.become("loaded");
      view.tell("load");
      const attempts = loader.attempt;
      const now = performance.now();
      const address = view.img().currentSrc;
      if (outageBegan) view.tell("recover", { attempts, outage: Math.round(now - outageBegan) });
      report?.({ result: outageBegan ? "recovered" : "loaded", attempts, seconds: (now - began) / 1000, address });
      const isLost = await view.guard(signal, () => gate.wait(probe, signal));
      return isLost ? load(loader, view, request, signal) : undefined;
    } catch (error) {
      signal.throwIfAborted();
      const failure = asFailure(error);
      // Else getToken or getLink of the page threw.
      if (failure !== error) reportError(error);
      else if (failure !== EXPIRED) gateway.report(failure, id);
      outageBegan ||= performance.now();
      loader.lastError = failure;
      if (!(await mayGoOn(failure))) return;
    }
  }
}
