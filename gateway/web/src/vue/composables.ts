import {
  type ComponentPublicInstance,
  getCurrentScope,
  onScopeDispose,
  type Ref,
  ref,
  type ShallowRef,
  shallowRef,
  watch,
} from "vue";
import { createApi, type ImageUrl } from "../core/api.js";
import { apiBy } from "../core/api-at.js";
import type { ImageCache } from "../core/cache.js";
import { baseUrlOf, type MonitorOptions } from "../core/config.js";
import type { LoadFailure } from "../core/failure.js";
import type { LoadState } from "../core/loader.js";
import { Monitor } from "../core/monitor.js";
import { Retrier, type RetryOptions } from "../core/retry.js";
import type { SmartImageElement } from "../element/smart-image.js";

type Target = SmartImageElement | Pick<ComponentPublicInstance, "$el"> | null | undefined;

/** Reactive state of an image; `target` is a template ref of `<SmartImage>` or `<smart-image>`. */
export function useSmartImage(target: Readonly<Ref<Target>>): {
  state: Readonly<Ref<LoadState>>;
  attempt: Readonly<Ref<number>>;
  currentSrc: Readonly<Ref<string>>;
  error: Readonly<ShallowRef<LoadFailure | null>>;
  reload: (options?: { fresh?: boolean }) => void;
  decode: () => Promise<void>;
} {
  const state = ref<LoadState>("idle");
  const attempt = ref(0);
  const currentSrc = ref("");
  const error = shallowRef<LoadFailure | null>(null);
  const element = () => {
    const found = target.value;
    return found && "$el" in found ? (found.$el as SmartImageElement) : found;
  };
  const read = () => {
    const found = element();
    state.value = found?.state ?? "idle";
    attempt.value = found?.attempt ?? 0;
    currentSrc.value = found?.currentSrc ?? "";
    error.value = found?.lastError ?? null;
  };
  watch(
    element,
    (found, _, onCleanup) => {
      read();
      if (!found) return;
      const types = ["statechange", "retry", "load"] as const;
      for (const type of types) found.addEventListener(type, read);
      onCleanup(() => {
        for (const type of types) found.removeEventListener(type, read);
      });
    },
    { immediate: true, flush: "post" },
  );
  return {
    state,
    attempt,
    currentSrc,
    error,
    reload: (options) => element()?.reload(options),
    decode: async () => element()?.decode(),
  };
}

/** The cache of presigned URLs by image id. `clear` forgets the token, too, as for another user; `baseUrl` selects another gateway than the configured one. */
export function useImageCache(
  baseUrl?: string,
): Pick<ImageCache<ImageUrl>, "get" | "set" | "invalidate" | "clear" | "stats"> {
  const { cache, forget } = apiBy(createApi, baseUrlOf(baseUrl));
  return {
    get: (id) => cache.get(id),
    set: (id, value, expiresAt = value.expires_at) => cache.set(id, value, expiresAt),
    invalidate: (id) => cache.invalidate(id),
    clear: forget,
    stats: () => cache.stats(),
  };
}

/** Retries for your own task. Unmounting the component cancels them. */
export function useImageRetry(options: Partial<RetryOptions> = {}): {
  run: <T>(task: (signal: AbortSignal) => Promise<T>, mayRetry?: (error: unknown) => boolean) => Promise<T>;
  attempt: Readonly<Ref<number>>;
  reset: () => void;
  cancel: () => void;
} {
  const retrier = new Retrier(options);
  const attempt = ref(0);
  if (getCurrentScope()) onScopeDispose(() => retrier.cancel());
  return {
    attempt,
    run: (task, mayRetry) =>
      retrier.run((signal) => {
        attempt.value = retrier.attempt;
        return task(signal);
      }, mayRetry),
    cancel: () => retrier.cancel(),
    reset: () => {
      retrier.reset();
      attempt.value = 0;
    },
  };
}

/** A collector for images that you display yourself. Unmounting the component sends the counts. */
export function useImageMonitoring(options: MonitorOptions = {}): Pick<Monitor, "report" | "flush"> {
  const monitor = new Monitor(() => options, baseUrlOf());
  if (getCurrentScope()) onScopeDispose(() => void monitor.flush());
  return { report: (report) => monitor.report(report), flush: () => monitor.flush() };
}
