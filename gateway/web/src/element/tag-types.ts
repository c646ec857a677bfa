/**
 * `<smart-image>` in TypeScript's DOM, and in the templates of React, Preact and Vue. Types of a framework that is not
 * installed are ignored.
 */
/** @ts-ignore */
import type { HTMLAttributes as PreactAttributes } from "preact";
/** @ts-ignore */
import type { DetailedHTMLProps, HTMLAttributes as ReactAttributes } from "react";
/** @ts-ignore */
import type { HTMLAttributes as VueAttributes } from "vue";
import type { SmartImageAttributes } from "./attributes.js";
import type { SmartImageElement, SmartImageEventMap } from "./smart-image.js";

type Type = keyof SmartImageEventMap;

/** A listener that an application gives to the element. */
type Listener<Key extends Type> =
  | ((event: SmartImageEventMap[Key] & { readonly currentTarget: SmartImageElement }) => unknown)
  | undefined;

/** Listeners as React 19 and Preact call them: `on` and the event type. */
export type SmartImageListeners = { [Key in Type as `on${Key}`]?: Listener<Key> };

type VueListeners = { [Key in Type as `on${Capitalize<Key>}`]?: Listener<Key> };

type Written = SmartImageAttributes & SmartImageListeners;
type InReact = DetailedHTMLProps<ReactAttributes<SmartImageElement>, SmartImageElement> & Written;
type InPreact = PreactAttributes<SmartImageElement> & Written;
type InVue = Omit<VueAttributes, keyof VueListeners> & SmartImageAttributes & VueListeners;

declare global {
  interface HTMLElementTagNameMap {
    "smart-image": SmartImageElement;
  }
}

/** @ts-ignore */
declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "smart-image": InReact;
    }
  }
}

/** @ts-ignore */
declare module "preact" {
  namespace JSX {
    interface IntrinsicElements {
      "smart-image": InPreact;
    }
  }
}

/** @ts-ignore */
declare module "vue" {
  interface GlobalComponents {
    "smart-image": new () => SmartImageElement & { $props: InVue };
  }
}
