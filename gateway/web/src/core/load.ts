import { candidates, isImageId, proxyAddress } from "./addresses.js";
import type { ImageMeta } from "./api.js";
import { apiAt, usedApiAt } from "./api-at.js";
import { configuredVariant, originOf, secretsFor } from "./config.js";
import { actionFor, asFailure, ImageLoadError, isTransient } from "./failure.js";
import { type Gateway, gatewayAt } from "./gateway.js";
import type { Broken, Loader, LoaderView, LoadRequest, Source } from "./loader.js";
import { longestDelay } from "./retry.js";
import { sleep } from "./sleep.js";
import { isCut } from "./timing.js";

// ms of waiting at the gate after which the state becomes `failed`; the load goes on in the background.
const OUTAGE_LIMIT = 60_000;

// ms before an image that was missing for a stranger alone is asked for again.
const RARELY = { delay: 30_000, maxDelay: 600_000 };

// A presigned URL that has ended, or was withdrawn. COS hides the status from pages of other origins: the first one that fails is
// taken for such, and a new one is taken at once. If that fails too, it is for another reason.
const EXPIRED = new ImageLoadError("refused");

/** Fragments of the images that the page has reloaded past caches: later loads show these bytes, too. */
const renewed = new Map<string, string>();

/** What is known of one load. */
interface LoadProgress {
  meta?: ImageMeta | undefined;
  /** The presigned URL in use. */
  url?: string | null | undefined;
  /** The last presigned URL that failed. */
  dead?: string | null | undefined;
  link?: string | null | undefined;
  /** Whether the page was asked for another token or link. */
  isAuthorized?: boolean;
  /** Whether another presigned URL was asked for, or a link to what the page has set without one. */
  isRenewed?: boolean;
  /** Whether presigned URLs are not for this visitor. */
  isRefused?: boolean;
  hasGivenUp?: boolean;
  outageBegan?: number;
  /** A refusal that may be for strangers alone. */
  doubt?: ImageLoadError;
  /** How often an image that is missing in doubt was asked for again. */
  rests: number;
  /** Firefox keeps decoded images, also cut ones, by the whole address. */
  fragment: string;
}

/** Return the gateway of a request, as the page is configured now. */
export function gatewayOf({ id, src, base }: LoadRequest): Gateway {
  return gatewayAt(id || !src ? base : originOf(src, document.baseURI));
}

/** Load one image: resolve its address, display it, and handle failures. Rejects when the signal is aborted. */
export async function load(loader: Loader, view: LoaderView, request: LoadRequest, signal: AbortSignal): Promise<void> {
  const { id, src, viaUrl, variant, widths, formats, retry, timeout, fallback, report, fresh, isSizeless } = request;
  const known = usedApiAt(gatewayOf(request).base)?.cache.peek(`${id}`);
  // What is not requested before this event ends does not get onto the paper.
  const isPrinted = window.event?.type === "beforeprint";
  const progress: LoadProgress = { dead: fresh ? known?.url : null, rests: 0, fragment: "" };

  /** Handle a failure; return false if the load is over. */
  async function mayGoOn(failure: ImageLoadError): Promise<boolean> {
    const { kind, status, retryAfter, isDoubted } = failure;
    const { gate, base } = gatewayOf(request);
    // Browsers hide the status of other origins: a presigned URL that failed without one may have expired.
    if (!status || kind === "refused") progress.dead = progress.url;
    const action = actionFor(kind, viaUrl && !progress.isRefused);
    const { getLink, getToken } = secretsFor(base);
    if (action === "authorize" && !progress.isAuthorized && (getLink || getToken)) {
      progress.isAuthorized = true;
      progress.link = undefined;
      delete progress.doubt;
      // Else getToken of the page threw: the next attempt tells what is missing.
      if (!getLink) await (await apiAt(base)).renew().catch(reportError);
    } else if (isTransient(kind) && !navigator.onLine) {
      loader.attempt--;
      loader.become("offline");
      await gate.wait(probe, signal);
      loader.become("retrying");
    } else if (
      (action === "renew" || (getLink && id && !viaUrl && progress.link === undefined && action !== "retry")) &&
      !progress.isRenewed
    ) {
      // An expired URL is not an outage, nor is what the page has set without a link: request the first new one without delay.
      progress.isRenewed = true;
      delete progress.doubt;
    } else if ((/stop|authorize/.test(action) && !isDoubted) || loader.attempt > retry.max) {
      await giveUp(failure, action !== "retry" && !isDoubted);
      if (isDoubted) {
        await gate.rest((0.5 + Math.random() / 2) * longestDelay(++progress.rests, RARELY), signal);
      } else {
        if (!isTransient(kind)) return false;
        // Try once more when the gateway answers, the network is back or the page is visible again.
        await gate.wait(probe, signal);
      }
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

  /** Display the fallback, if any. `isRefused`: the visitor may not see the image, even if it is displayed. */
  async function giveUp(failure: ImageLoadError, isRefused?: boolean, until = signal): Promise<void> {
    const isShown = fallback && !(await display({ url: fallback }, until).catch(() => fallback));
    until.throwIfAborted();
    const isTold = progress.hasGivenUp;
    progress.hasGivenUp = true;
    const result = isShown ? "fallback" : "failed";
    loader.lastError = failure;
    if (!isShown) view.withdraw(isRefused);
    loader.become(result);
    if (isTold) return;
    view.tell("error");
    report?.({ result, attempts: loader.attempt, seconds: null });
  }

  async function enterGate(): Promise<void> {
    const { gate } = gatewayOf(request);
    if (!gate.closed) return;
    if (!progress.hasGivenUp) loader.become("retrying");
    // A fallback that takes long must not take the place of the image after the outage.
    const waiting = new AbortController();
    const until = AbortSignal.any([signal, waiting.signal]);
    const limit = setTimeout(
      () => giveUp(loader.lastError ?? new ImageLoadError("network"), false, until).catch(() => undefined),
      OUTAGE_LIMIT,
    );
    await gate.enter(probe, signal).finally(() => {
      clearTimeout(limit);
      waiting.abort();
    });
  }

  function probe(): Promise<boolean> {
    const gateway = gatewayOf(request);
    const { base } = gateway;
    const address = id && !viaUrl ? proxyAddress(base, id, { link: progress.link }) : src;
    return gateway.probe(address ?? `${base}/healthz`);
  }

  async function resolve(): Promise<Source> {
    const { base } = gatewayOf(request);
    if (!id) return { url: src + progress.fragment };
    if (viaUrl && !progress.isRefused) {
      const found = await (await apiAt(base)).urlFor(id, progress.dead, isSizeless, !!variant.style);
      describe(found?.meta);
      progress.url = found?.url;
      if (progress.url) return { url: progress.url, ends: found?.expires_at };
      // The image at its permanent address.
      progress.isRefused = true;
    }
    const { style } = variant;
    let listed = configuredVariant(base, style);
    const isIncomplete = style && !widths && !listed && !view.isGiven;
    if (!progress.meta && (isSizeless || isIncomplete)) {
      // The load of the image reports the failure.
      const asked = apiAt(base)
        .then((api) => api.meta(id))
        .then(describe, () => undefined);
      if (isIncomplete && !isPrinted) await asked;
    }
    if (view.isGiven && !fresh) return { url: id };
    if (progress.link === undefined) {
      const given = !progress.isAuthorized && variant.link;
      const made = given || (await secretsFor(base).getLink?.(id, { renew: !!progress.isAuthorized }));
      progress.link = (typeof made === "object" ? made?.url : made) ?? null;
    }
    if (fresh) renewed.set(id, `#${Date.now()}`);
    const { link, meta } = progress;
    const fragment = progress.fragment || renewed.get(id) || "";
    const options = { ...variant, link, version: variant.version ?? meta?.version, fragment };
    listed ??= meta?.styles?.[`${style}`];
    const sizes = (style && (widths ?? listed?.widths)) || [];
    return {
      url: proxyAddress(base, id, options),
      isRefetched: renewed.has(id),
      candidates: candidates(base, id, options, sizes, formats ?? listed?.formats ?? []),
    };
  }

  function describe(found: ImageMeta | undefined): void {
    if (!found || signal.aborted) return;
    progress.meta = found;
    view.described(found);
  }

  /** Display a source within the time limit, which begins again while the browser may defer the request. */
  function display(source: Source, until = signal): Promise<Broken | undefined> {
    const late = new AbortController();
    let isDeferred: boolean | undefined;
    const end = () => {
      const wasDeferred = isDeferred;
      isDeferred = view.isDeferred;
      if (!wasDeferred && !isDeferred) late.abort(new ImageLoadError("timeout"));
    };
    const timer = timeout && setInterval(end, timeout);
    return view.show(source, AbortSignal.any([until, late.signal])).finally(() => clearInterval(timer));
  }

  /** Display the source, or reject with the reason why it cannot be loaded. */
  async function show(source: Source): Promise<void> {
    // The page may have started the first load.
    const since = view.isGiven ? 0 : performance.now();
    const broken = await display(source);
    if (!broken) return;
    if (isCut(broken[0])) progress.fragment = `#${Date.now()}`;
    if (source.ends && !progress.isRenewed) throw EXPIRED;
    const { doubt } = progress;
    // A stranger would get the same answer again.
    const failure = await gatewayOf(request).diagnose(broken, id, since, !source.ends && !doubt, signal);
    if (failure.isDoubted) progress.doubt = failure;
    throw failure.status ? failure : (doubt ?? failure);
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
    const { gate } = gatewayOf(request);
    try {
      const source = await resolve();
      await show(source);
      gate.succeeded();
      loader.ends = source.ends ?? null;
      loader.lastError = null;
      loader.become("loaded");
      view.tell("load");
      const attempts = loader.attempt;
      const now = performance.now();
      const { outageBegan } = progress;
      if (outageBegan) view.tell("recover", { attempts, outage: Math.round(now - outageBegan) });
      const address = view.img().currentSrc;
      report?.({ result: outageBegan ? "recovered" : "loaded", attempts, seconds: (now - began) / 1000, address });
      const isLost = await view.guard(address, signal, () => gate.wait(probe, signal));
      return isLost ? load(loader, view, request, signal) : undefined;
    } catch (error) {
      signal.throwIfAborted();
      const failure = asFailure(error);
      // Else getToken or getLink of the page threw.
      if (failure !== error) reportError(error);
      else if (failure !== EXPIRED) gatewayOf(request).report(failure, id);
      progress.outageBegan ||= performance.now();
      loader.lastError = failure;
      if (!(await mayGoOn(failure))) return;
    }
  }
}
