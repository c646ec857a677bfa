/** Attributes that select the image: a change starts a new load. */
export const SUBJECT = {
  imageId: "image-id",
  src: "src",
  mode: "mode",
  baseUrl: "base-url",
  styleName: "style-name",
  widths: "widths",
  sizes: "sizes",
  formats: "formats",
  version: "version",
  link: "link",
} as const;

/** Attributes that are copied to the `<img>`. */
export const HANDED_ON = {
  alt: "alt",
  decoding: "decoding",
  crossOrigin: "crossorigin",
  referrerPolicy: "referrerpolicy",
} as const;

/** Other string attributes. */
export const TEXTS = {
  fallbackSrc: "fallback-src",
  placeholder: "placeholder",
  loading: "loading",
  fetchPriority: "fetchpriority",
} as const;

/** Numeric attributes with their defaults. */
export const NUMBERS = {
  width: ["width", 0],
  height: ["height", 0],
  maxRetries: ["max-retries", 3],
  retryDelay: ["retry-delay", 1000],
  retryMaxDelay: ["retry-max-delay", 30_000],
  timeout: ["timeout", 0],
} as const;

/** Boolean attributes. */
export const SWITCHES = { lazy: "lazy", priority: "priority", monitor: "monitor", useProxy: "use-proxy" } as const;

/** Properties that reflect attributes. */
export type AttributeProperties = Record<
  keyof typeof SUBJECT | keyof typeof HANDED_ON | keyof typeof TEXTS,
  string | null
> &
  Record<keyof typeof NUMBERS, number> &
  Record<keyof typeof SWITCHES, boolean>;

/** Every observed attribute. */
export const OBSERVED: readonly string[] = [
  ...Object.values(SUBJECT),
  ...Object.values(HANDED_ON),
  ...Object.values(TEXTS),
  ...Object.values(NUMBERS).map(([name]) => name),
  ...Object.values(SWITCHES),
  "lang",
];

/** Define the properties on a prototype. */
export function reflectAttributes(prototype: HTMLElement): void {
  const define = (
    property: string,
    get: (element: HTMLElement) => unknown,
    set: (element: HTMLElement, value: unknown) => void,
  ) =>
    Object.defineProperty(prototype, property, {
      configurable: true,
      enumerable: true,
      get(this: HTMLElement) {
        return get(this);
      },
      set(this: HTMLElement, value: unknown) {
        set(this, value);
      },
    });
  const write = (name: string) => (element: HTMLElement, value: unknown) => {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  };
  for (const [property, name] of Object.entries({ ...SUBJECT, ...HANDED_ON, ...TEXTS })) {
    define(property, (element) => element.getAttribute(name), write(name));
  }
  for (const [property, [name, standard]] of Object.entries(NUMBERS)) {
    const get = (element: HTMLElement) => {
      const value = Number.parseFloat(element.getAttribute(name) ?? "");
      return value >= 0 ? value : standard;
    };
    define(property, get, write(name));
  }
  for (const [property, name] of Object.entries(SWITCHES)) {
    define(property, (element) => (element.getAttribute(name) ?? "false") !== "false", write(name));
  }
}

/** Apply properties that were set before the element was defined: they hide the accessors. */
export function takeEarlyProperties(element: object): void {
  for (const property of Object.keys(element)) {
    const value: unknown = Reflect.get(element, property);
    Reflect.deleteProperty(element, property);
    Reflect.set(element, property, value);
  }
}
