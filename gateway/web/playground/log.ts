import { byId, make } from "./elements.js";

const MOST = 100;

/** The events of the components, newest first. */
export class Log {
  readonly #list = byId("log", HTMLOListElement);

  add(text: string): void {
    const time = new Date().toLocaleTimeString();
    this.#list.prepend(make("li", {}, make("time", {}, time), ` ${text}`));
    while (this.#list.children.length > MOST) this.#list.lastElementChild?.remove();
  }
}
