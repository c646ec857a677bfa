import type { SmartImageConfig } from "../core/config.js";
import type { FailureKind } from "../core/failure.js";

/** Keys of the texts in `configureSmartImage({messages: {en: {…}}})`. `several` has a number for `{n}`. */
export type MessageKey = "retrying" | "offline" | "failed" | "not_found" | "unauthorized" | "retry" | "several";

const BUILT_IN = {
  en: {
    retrying: "Trying again…",
    offline: "You are offline.",
    failed: "The image could not be loaded.",
    not_found: "This image is not available.",
    unauthorized: "Sign in to see this image.",
    retry: "Try again",
    several: "{n} pictures could not be loaded.",
  },
  zh: {
    retrying: "正在重试…",
    offline: "当前离线。",
    failed: "图片加载失败。",
    not_found: "图片不存在或不可用。",
    unauthorized: "请登录后查看图片。",
    retry: "重试",
    several: "{n} 张图片加载失败。",
  },
} satisfies Record<string, Record<MessageKey, string>>;

/** Return the text, or that of a failure, in the language of the element: the page's `own`, else the built-in one, else English. */
export function message(
  wanted: MessageKey | FailureKind,
  element: HTMLElement,
  own: SmartImageConfig["messages"],
): string {
  const key = wanted in BUILT_IN.en ? (wanted as MessageKey) : wanted === "blocked" ? "not_found" : "failed";
  const lang = element.closest<HTMLElement>("[lang]")?.lang || navigator.language;
  const short = lang.slice(0, 2).toLowerCase();
  return own?.[lang]?.[key] ?? own?.[short]?.[key] ?? (BUILT_IN[short as "en"] ?? BUILT_IN.en)[key];
}
