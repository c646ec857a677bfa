import "@image-gateway/web/smart-image.css";
import type { SmartImageElement, SmartImageEventMap } from "@image-gateway/web/define";

const made: SmartImageElement = document.createElement("smart-image");
const found = document.querySelector("smart-image");
found?.addEventListener("retry", ({ detail }) => detail.delay.toFixed());
const listener = ({ detail }: SmartImageEventMap["statechange"]) => detail.to === "loaded";
found?.addEventListener("statechange", listener);
found?.removeEventListener("statechange", listener);
export const isFailed = found?.state === "failed";
// @ts-expect-error: a state that does not exist
export const isBroken = found?.state === "broken";
made.mode = "url";
// @ts-expect-error: a mode that does not exist
made.mode = "direct";
