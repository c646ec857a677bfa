import { byId, make } from "./elements.js";

const MOST = 100;

/** The events of the components, newest first. */
export class Log {
  readonly #list = byId("log", HTMLOListElement);

  /** `cause`: a link to the reason, if there is one. */
  add(name: string, text: string, cause: Node | null = null): void {
    const time = make("time", {}, new Date().toLocaleTimeString());
    const parts = [make("b", {}, name), ` ${text}`, ...(cause ? [" ", cause] : [])];
    this.#list.prepend(make("li", {}, time, make("span", {}, ...parts)));
    while (this.#list.children.length > MOST) this.#list.lastElementChild?.remove();
  }
}
