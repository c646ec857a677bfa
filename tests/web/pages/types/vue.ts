import type { GlobalComponents } from "vue";

/** What a template of Vue may give to the element; `Component.vue` has the component. */
type Given = InstanceType<GlobalComponents["smart-image"]>["$props"];

export const right: Given = {
  "image-id": "a",
  mode: "url",
  width: 80,
  lazy: true,
  onRetry: ({ detail }) => detail.delay.toFixed(),
};
// @ts-expect-error: a mode that does not exist
export const wrong: Given = { mode: "direct" };
