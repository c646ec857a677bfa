import { config } from "../core/config.js";
import type { FailureKind } from "../core/failure.js";

/** Keys of the texts in `configureSmartImage({messages: {en: {…}}})`. */
export type MessageKey = "retrying" | "offline" | "failed" | "not_found" | "blocked" | "unauthorized" | "retry";

const BUILT_IN: Readonly<Record<string, Record<MessageKey, string>>> = {
  en: {
    retrying: "Loading takes longer than usual. Trying again…",
    offline: "You are offline. The image will load when you are online again.",
    failed: "The image could not be loaded.",
    not_found: "This image does not exist.",
    blocked: "This image is not available.",
    unauthorized: "Sign in to see this image.",
    retry: "Try again",
  },
  zh: {
    retrying: "加载较慢，正在重试…",
    offline: "当前离线，恢复联网后会自动加载图片。",
    failed: "图片加载失败。",
    not_found: "图片不存在。",
    blocked: "图片不可用。",
    unauthorized: "请登录后查看图片。",
    retry: "重试",
  },
};

/** Return the text in the language `lang` (BCP 47): the page's own, else the built-in one, else English. */
export function message(key: MessageKey, lang: string): string {
  const short = lang.slice(0, 2).toLowerCase();
  const own = config.messages;
  return own?.[lang]?.[key] ?? own?.[short]?.[key] ?? (BUILT_IN[short] ?? BUILT_IN.en)?.[key] ?? key;
}

/** Return the text for a failure. */
export function messageKeyOf(kind: FailureKind): MessageKey {
  return kind === "not_found" || kind === "blocked" || kind === "unauthorized" ? kind : "failed";
}

/** Return the language of the element. */
export function languageOf(element: HTMLElement): string {
  return element.closest<HTMLElement>("[lang]")?.lang || navigator.language;
}
