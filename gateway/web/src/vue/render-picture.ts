import { h, type VNode } from "vue";
import { candidates, proxyAddress } from "../core/addresses.js";
import { baseUrlOf } from "../core/config.js";

type List = string | readonly (string | number)[] | undefined;

/** The props of `SmartImage` that the `<img>` depends on. */
export interface PictureProps {
  imageId?: string | undefined;
  alt: string;
  width?: number | undefined;
  height?: number | undefined;
  styleName?: string | undefined;
  widths?: List;
  formats?: List;
  sizes?: string | undefined;
  version?: string | undefined;
  link?: string | undefined;
  baseUrl?: string | undefined;
  lazy: boolean;
  loading?: "lazy" | "eager" | undefined;
  priority: boolean;
  fetchpriority?: "high" | "low" | "auto" | undefined;
}

/** Return the `<img>` that a server renders, in a `<picture>` if there are several formats: what the element would make. */
export function renderPicture(props: PictureProps): VNode {
  const { imageId = "", alt, width, height, styleName: style, version, link, priority } = props;
  const base = baseUrlOf(props.baseUrl);
  const variant = { style: style ?? null, version: version ?? null, link: link ?? null };
  const found = style
    ? candidates(base, imageId, variant, listOf(props.widths).map(Number), listOf(props.formats))
    : [];
  const isLazy = !priority && (props.lazy || props.loading === "lazy");
  const sizes = found.length ? (props.sizes ?? (isLazy ? "auto, 100vw" : "100vw")) : undefined;
  const last = found.at(-1);
  const img = h("img", {
    alt,
    width,
    height,
    loading: isLazy ? "lazy" : undefined,
    fetchpriority: priority ? "high" : props.fetchpriority,
    sizes,
    srcset: last?.srcset,
    src: proxyAddress(base, imageId, variant),
  });
  const sources = found.slice(0, -1).map(({ type, srcset }) => h("source", { type, sizes, srcset }));
  return sources.length ? h("picture", [...sources, img]) : img;
}

function listOf(list: List): string[] {
  return typeof list === "string" ? (list.match(/[^\s,]+/g) ?? []) : (list?.map(String) ?? []);
}
