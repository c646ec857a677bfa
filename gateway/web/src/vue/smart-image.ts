import {
  defineComponent,
  getCurrentInstance,
  h,
  onMounted,
  type PropType,
  type SlotsType,
  shallowRef,
  useSSRContext,
} from "vue";
import type { FailureKind, LoadFailure } from "../core/failure.js";
import type { LoadState } from "../core/loader.js";
import { defineSmartImage } from "../element/define-element.js";
import type { SmartImageElement } from "../element/smart-image.js";
import { serverPicture } from "../server-picture.js";

/** Properties of the slots. */
export interface SmartImageSlotProps {
  state: LoadState;
  attempt: number;
  error: LoadFailure | null;
  reload: () => void;
}

const text = String as PropType<string>;
const number = Number as PropType<number>;
const list = [String, Array] as PropType<string | readonly (string | number)[]>;

const PROPS = {
  imageId: text,
  alt: { type: text, default: "" },
  styleName: text,
  width: number,
  height: number,
  widths: list,
  sizes: text,
  formats: list,
  ratio: text,
  src: text,
  fallbackSrc: text,
  mode: String as PropType<"proxy" | "url">,
  useProxy: { type: Boolean, default: undefined },
  baseUrl: text,
  version: text,
  link: text,
  loading: String as PropType<"lazy" | "eager">,
  lazy: Boolean,
  priority: Boolean,
  fetchpriority: String as PropType<"high" | "low" | "auto">,
  decoding: String as PropType<"async" | "sync" | "auto">,
  crossorigin: String as PropType<"anonymous" | "use-credentials" | "">,
  referrerpolicy: String as PropType<ReferrerPolicy>,
  placeholder: text,
  maxRetries: number,
  retryDelay: number,
  retryMaxDelay: number,
  timeout: number,
  monitor: Boolean,
  lang: text,
} as const;

const SLOTS = ["placeholder", "loading", "error", "retry"] as const;

/** The context of `renderToString`, as far as it is used here: `head` is that of Unhead. */
type Context = { head?: { push(input: { link: object[] }): unknown } };

/** `<smart-image>` with typed props, emits and slots. */
export const SmartImage = defineComponent({
  name: "SmartImage",
  props: PROPS,
  emits: {
    load: (_element: SmartImageElement) => true,
    error: (_failure: LoadFailure | null) => true,
    retry: (_detail: { attempt: number; delay: number; reason: FailureKind }) => true,
    recover: (_detail: { attempts: number; outage: number }) => true,
    statechange: (_detail: { from: LoadState; to: LoadState }) => true,
  },
  slots: Object as SlotsType<Record<(typeof SLOTS)[number], SmartImageSlotProps>>,
  setup(props, { emit, expose, slots }) {
    const isDefined = defineSmartImage();
    const element = shallowRef<SmartImageElement | null>(null);
    const slotProps = shallowRef<SmartImageSlotProps>({ state: "idle", attempt: 0, error: null, reload });
    expose({ element, reload, decode: () => element.value?.decode() });

    const isRendered = !isDefined || !!getCurrentInstance()?.vnode.el;
    const described = () => {
      const { fetchpriority: fetchPriority, crossorigin: crossOrigin, referrerpolicy: referrerPolicy } = props;
      return serverPicture({ ...props, fetchPriority, crossOrigin, referrerPolicy });
    };
    const { preload } = described();
    // biome-ignore lint/correctness/useHookAtTopLevel: a rule of React. Nuxt's context has the head of the page.
    if (preload && !globalThis.document) useSSRContext<Context>()?.head?.push({ link: [preload] });
    const picture = () => {
      if (!isRendered) return [null];
      const { img, sources, placeholder } = described();
      // Without a source too: a hydration would remove an <img> of the element that the server has not rendered.
      const made = h("img", img);
      const tiny = placeholder && !slots.placeholder ? [h("img", placeholder)] : [];
      return [...tiny, sources[0] ? h("picture", [...sources.map((source) => h("source", source)), made]) : made];
    };
    // Created once, so that Vue never patches the <img>: the element manages it, if there is one.
    const first = isDefined && picture();

    function reload(options?: { fresh?: boolean }): void {
      element.value?.reload(options);
    }

    function follow({ state, attempt, lastError }: SmartImageElement): void {
      slotProps.value = { state, attempt, error: lastError, reload };
    }

    // The element may have been upgraded before it is hydrated.
    onMounted(() => isDefined && element.value && element.value.state !== "idle" && follow(element.value));

    return () => {
      const attributes = Object.keys(PROPS).map((name) => {
        const value = props[name as keyof typeof props] as unknown;
        const attribute = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        if (name === "useProxy") return [`^${attribute}`, value === undefined ? null : String(value)];
        return [
          `^${attribute}`,
          value === true ? "" : value === false ? null : Array.isArray(value) ? value.join(" ") : value,
        ];
      });
      const listeners = {
        onLoad: (event: Event) => emit("load", event.target as SmartImageElement),
        onError: (event: Event) => emit("error", (event.target as SmartImageElement).lastError),
        onRetry: (event: CustomEvent) => emit("retry", event.detail),
        onRecover: (event: CustomEvent) => emit("recover", event.detail),
        onStatechange: (event: CustomEvent<{ from: LoadState; to: LoadState }>) => {
          follow(event.target as SmartImageElement);
          emit("statechange", event.detail);
        },
      };
      const filled = SLOTS.map(
        (name) => slots[name] && h("div", { slot: name, key: name }, slots[name](slotProps.value)),
      );
      return h("smart-image", { ref: element, ...Object.fromEntries(attributes), ...listeners }, [
        ...(first || picture()),
        ...filled,
      ]);
    };
  },
});
