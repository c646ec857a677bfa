import { boxOf, candidates, proxyAddress, sizesOf } from "./core/addresses.js";
import { baseUrlOf, configuredVariant } from "./core/config.js";
import { type ComponentProperties, type List, NAMES, propertyOf } from "./element/attributes.js";

type Attributes = Record<string, string | number | undefined>;

/**
 * Attributes of the `<img>` that a server renders, of the `<source>`s before it, if there are several formats, and of the
 * `<img>` of the placeholder, if that is an image. `preload`: attributes of a `<link>` for the page's head, with `priority`.
 */
export interface ServerPicture {
  img: Attributes;
  sources: Attributes[];
  placeholder: Attributes | undefined;
  preload: Attributes | undefined;
}

// Any other text is a colour, or a word.
const IMAGE = /^(?:data:image\/|https?:\/\/|\.{0,2}\/)/;

/**
 * Return what the element would make. The `<img>` has no source if its URL has to be requested: `mode="url"`. Without the
 * widths of the style it has those of its box, which the gateway rounds up.
 */
export function serverPicture(props: ComponentProperties): ServerPicture {
  const { imageId, alt = "", styleName: style, ratio, version, link, priority, decoding } = props;
  const [width, height] = boxOf(props.width, props.height, ratio).map((length) => length || undefined);
  const base = baseUrlOf(props.baseUrl);
  const id = props.mode !== "url" && props.useProxy !== false && imageId;
  const variant = { style, ratio, version, link };
  const listed = configuredVariant(base, style);
  const widths = listOf(props.widths ?? listed?.widths).map(Number);
  const found = id && style ? candidates(base, id, variant, widths, listOf(props.formats ?? listed?.formats)) : [];
  const isGuessed = !!(id && style && width && !found.length);
  if (isGuessed) warn(style);
  const isLazy = !priority && (props.lazy || props.loading === "lazy");
  const sizes = found.length ? sizesOf(props.sizes, width, isLazy) : undefined;
  const srcset = isGuessed
    ? [1, 2]
        .map((density) => `${proxyAddress(base, id, { ...variant, width: density * width })} ${density}x`)
        .join(", ")
    : found.at(-1)?.srcset;
  const src = id ? proxyAddress(base, id, isGuessed ? { ...variant, width } : variant) : undefined;
  const sources = found.slice(0, -1).map(({ type, srcset }) => ({ type, sizes, srcset }));
  const loading = isLazy ? "lazy" : undefined;
  const fetchpriority = priority ? "high" : props.fetchPriority;
  // The element would set them on an `<img>` that is loading, which begins again then.
  const request = { crossorigin: props.crossOrigin, referrerpolicy: props.referrerPolicy };
  const preferred = sources[0] ?? { type: undefined, srcset };
  return {
    sources,
    img: { alt, width, height, loading, fetchpriority, decoding, ...request, sizes, srcset, src },
    placeholder: IMAGE.test(props.placeholder ?? "")
      ? { slot: "placeholder", alt: "", width, height, src: props.placeholder }
      : undefined,
    preload:
      priority && src
        ? {
            rel: "preload",
            as: "image",
            href: src,
            imagesrcset: preferred.srcset,
            imagesizes: sizes,
            type: preferred.type,
            fetchpriority: "high",
            ...request,
          }
        : undefined,
  };
}

const ATTRIBUTES = Object.fromEntries(NAMES.map((name) => [propertyOf(name), name.toLowerCase()]));

/** Return the element's attributes for properties of a component. `others`: names of its further attributes by property. */
export function attributesOf(props: object, others: Record<string, string> = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(props).map(([name, value]) => [
      others[name] ?? ATTRIBUTES[name] ?? name,
      Array.isArray(value) ? value.join(" ") : name === "useProxy" && value === false ? "false" : value,
    ]),
  );
}

/** Return the markup of the picture that a server renders. */
export function htmlOf({ sources, img }: ServerPicture): string {
  const tag = (name: string, attributes: object) =>
    `<${name}${Object.entries(attributes)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => ` ${key}="${String(value).replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"`)
      .join("")}>`;
  return [...sources.map((source) => tag("source", source)), tag("img", img)].join("");
}

const warned = new Set<string>();

/** Tell developers that a server renders the image's own format, because it does not know the style. */
function warn(style: string): void {
  if (globalThis.document || globalThis.process?.env.NODE_ENV === "production" || warned.has(style)) return;
  warned.add(style);
  // biome-ignore lint/suspicious/noConsole: for developers alone
  console.warn(
    `<SmartImage style-name="${style}">: the server does not know its widths and formats. Add to your build or start: ` +
      'configureSmartImage({ variants: await fetchVariants(baseUrl) }), of "@image-gateway/web/variants".',
  );
}

function listOf(list: List): string[] {
  return typeof list === "string" ? (list.match(/[^\s,]+/g) ?? []) : (list?.map(String) ?? []);
}
