import { isTransient } from "../../gateway/web/src/core/failure.js";
import type { SmartImageElement } from "../../gateway/web/src/static.js";
import type { Listed } from "./api.js";
import { make } from "./elements.js";
import type { Session } from "./session.js";

/** The states of the component in four words. `hidden`: another user's private image. */
export type Status = "loaded" | "waiting" | "failed" | "hidden";

/** Callbacks of a tile to the page. */
export interface TileEvents {
  changed(tile: Tile): void;
  /** `requestId`: of the request that failed, if the gateway answered it. */
  happened(tile: Tile, text: string, requestId?: string | null): void;
  opened(tile: Tile): void;
  /** The picture was pressed. */
  tried(tile: Tile): void;
  /** The owner's view is wanted. */
  wanted(owner: string): void;
  selected(tile: Tile, withShift: boolean): void;
}

/** The style of the development stack's thumbnails. */
const STYLE = "card";
const WIDTH = 320;
const HEIGHT = 240;

/** One image of the grid: its picture, name, badges and check box. */
export class Tile {
  readonly item: HTMLLIElement;
  readonly box: HTMLInputElement;
  readonly name: HTMLButtonElement;
  readonly #badge: HTMLElement;
  readonly #aside: HTMLElement;
  /** The id of a request that failed, asked for once while the image is missing. */
  #requestId: Promise<string | null> | undefined;
  #picture: SmartImageElement;

  constructor(
    readonly image: Listed,
    private readonly session: Session,
    private readonly events: TileEvents,
  ) {
    const { image_id: id, file } = image;
    this.box = make("input", { type: "checkbox", ariaLabel: `Select ${id}` });
    this.box.addEventListener("click", ({ shiftKey }) => events.selected(this, shiftKey));
    this.name = make("button", { type: "button", className: "name", title: file }, id);
    this.name.ariaHasPopup = "dialog";
    this.name.addEventListener("click", () => events.opened(this));
    this.#badge = make("span", { className: "badge" });
    this.#aside = make("span", { className: "owner" });
    this.#picture = this.#makePicture();
    this.item = make(
      "li",
      { className: "tile" },
      this.#picture,
      this.box,
      this.name,
      make("div", { className: "badges" }, this.#badge, this.#aside),
    );
    this.#show();
  }

  get status(): Status {
    const { state } = this.#picture;
    if (state === "loaded") return state;
    if (this.session.isHidden(this.image) && state === "failed") return "hidden";
    return state === "failed" || state === "fallback" ? "failed" : "waiting";
  }

  /** Whether the picture is on the screen, also while it is loaded again. */
  get isShown(): boolean {
    return this.status !== "hidden" && this.#picture.naturalWidth > 0;
  }

  /** Whether the image may still come by itself: a failure that may pass is tried again once the gateway answers. */
  get isPending(): boolean {
    const { lastError } = this.#picture;
    return this.status === "waiting" || (this.status === "failed" && !!lastError && isTransient(lastError.kind));
  }

  /** Load the image again, past the browser's cache, while it stays on the screen. */
  reload(): void {
    this.#picture.reload({ fresh: true });
  }

  /** Take the picture off the screen and begin again; with `fresh` past the browser's cache. */
  restart({ fresh = false } = {}): void {
    const picture = this.#makePicture();
    // A tile that a filter hides is never near.
    picture.lazy = this.#picture.state === "idle";
    this.#picture.replaceWith(picture);
    this.#picture = picture;
    // The element begins by itself in a microtask, too.
    if (fresh && !picture.lazy) queueMicrotask(() => picture.reload({ fresh }));
    this.#show();
  }

  #makePicture(): SmartImageElement {
    const { image, session, events } = this;
    const picture = make("smart-image" as "div", {
      "image-id": image.image_id,
      alt: image.image_id,
      "style-name": STYLE,
      width: WIDTH,
      height: HEIGHT,
      lazy: true,
      timeout: 4000,
      "retry-max-delay": 5000,
      mode: !image.public && session.way === "url" ? "url" : "proxy",
    }) as unknown as SmartImageElement;
    const show = () => this.#picture === picture && this.#show();
    picture.addEventListener("statechange", show);
    picture.addEventListener("retry", ({ detail: { attempt, delay, reason } }) => {
      const next = (delay / 1000).toFixed(1);
      events.happened(this, `attempt ${attempt} failed (${reason}), next in ${next} s`, picture.lastError?.requestId);
      show();
    });
    picture.addEventListener("recover", ({ detail: { attempts, outage } }) =>
      events.happened(this, `shown again after ${(outage / 1000).toFixed(1)} s and ${attempts} attempts`),
    );
    picture.addEventListener("error", () => {
      const { kind, status, requestId } = picture.lastError ?? {};
      if (!session.isHidden(image)) {
        events.happened(this, `not shown: ${kind}${status ? ` (${status})` : ""}`, requestId);
      }
    });
    picture.addEventListener("click", () => picture.state === "loaded" && events.tried(this));
    const { owner } = image;
    if (owner && session.isHidden(image)) {
      const see = make("button", { type: "button", onclick: () => events.wanted(owner) }, `See it as ${owner}`);
      const said = make("b", {}, `${owner}’s private image`);
      picture.append(
        make("div", { slot: "error", className: "private" }, said, "For you it does not exist: 404.", see),
      );
    }
    return picture;
  }

  #show(): void {
    const { state, attempt, lastError } = this.#picture;
    const isRepeated = state === "retrying" && attempt > 0;
    const isHidden = this.status === "hidden";
    this.#badge.textContent = isRepeated ? `retrying (${attempt})` : isHidden ? "hidden" : state;
    this.#badge.title = state === "loaded" ? "" : (lastError?.kind ?? "");
    this.item.dataset.status = this.status;
    const { owner } = this.image;
    const whose = this.image.public ? "public" : owner && this.session.owns(this.image) ? "yours" : `${owner}’s`;
    this.#aside.replaceChildren(whose);
    if (state === "loaded") this.#requestId = undefined;
    else if (lastError && !isHidden) void this.#linkToCause(lastError.requestId);
    this.events.changed(this);
  }

  /** Put the link to the cause in place of the owner. */
  async #linkToCause(known: string | null): Promise<void> {
    const { image, session } = this;
    this.#requestId ??= known ? Promise.resolve(known) : session.requestIdOf(image, `?style=${STYLE}`);
    const link = session.causeLink(image, await this.#requestId, "why?");
    if (link && this.#picture.lastError && this.#picture.state !== "loaded") this.#aside.replaceChildren(link);
  }
}
