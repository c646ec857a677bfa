import type { Listed } from "./api.js";
import { byId } from "./elements.js";
import type { Session } from "./session.js";
import { Tile, type TileEvents } from "./tile.js";

/** Tiles at first, and how many more `Show more` adds: a folder may hold thousands of images. */
const PAGE = 120;

/** The grid of images: filters, selection, keyboard. */
export class Grid {
  readonly #tiles = new Map<string, Tile>();
  readonly #list = byId("grid", HTMLUListElement);
  readonly #search = byId("search", HTMLInputElement);
  readonly #visibility = byId("visibility", HTMLSelectElement);
  readonly #state = byId("state", HTMLSelectElement);
  readonly #count = byId("count", HTMLOutputElement);
  readonly #all = byId("select-all", HTMLInputElement);
  readonly #selection = byId("selection", HTMLFieldSetElement);
  readonly #more = byId("more", HTMLButtonElement);
  readonly #nothing = byId("nothing", HTMLParagraphElement);
  #limit = PAGE;
  #shown: Tile[] = [];
  #lastSelected: Tile | undefined;
  #isScheduled = false;

  constructor(
    private readonly images: readonly Listed[],
    private readonly session: Session,
    private readonly events: Omit<TileEvents, "changed" | "selected"> & { changed(): void },
  ) {
    for (const field of [this.#search, this.#visibility, this.#state]) {
      field.addEventListener("input", () => this.#fill());
    }
    this.#all.addEventListener("change", () => this.#selectAll(this.#all.checked));
    this.#more.addEventListener("click", () => {
      const first = this.#shown.length;
      this.#limit += PAGE;
      this.#fill();
      this.#shown[first]?.name.focus();
    });
    this.#nothing.querySelector("button")?.addEventListener("click", () => {
      for (const field of [this.#search, this.#visibility, this.#state]) field.value = "";
      this.#fill();
      this.#search.focus();
    });
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.#search.focus();
    });
    this.#fill();
  }

  /** The tiles that the filters let through. */
  get shown(): readonly Tile[] {
    return this.#shown;
  }

  get selected(): Tile[] {
    return this.#shown.filter((tile) => tile.box.checked);
  }

  /** Take private images off the screen and begin again, as another user sees them. */
  restartPrivate(): void {
    for (const tile of this.#tiles.values()) if (!tile.image.public) tile.restart();
  }

  #fill(): void {
    const text = this.#search.value.trim().toLowerCase();
    const visibility = this.#visibility.value;
    const matching = this.images.filter(
      ({ image_id, file, public: isPublic }) =>
        (!text || image_id.toLowerCase().includes(text) || file.toLowerCase().includes(text)) &&
        (!visibility || isPublic === (visibility === "public")),
    );
    const state = this.#state.value;
    const tiles = matching.slice(0, this.#limit).map((image) => this.#tileOf(image));
    // Hidden, not removed: a load goes on while its tile is in the document.
    for (const { item, status } of tiles) item.hidden = !!state && status !== state;
    this.#shown = tiles.filter(({ item }) => !item.hidden);
    const items = tiles.map(({ item }) => item);
    // An element that is moved loses the focus.
    if (items.length !== this.#list.children.length || items.some((item, at) => item !== this.#list.children[at])) {
      this.#list.replaceChildren(...items);
    }
    this.#more.hidden = matching.length <= this.#limit;
    this.#tell(matching.length);
  }

  #tileOf(image: Listed): Tile {
    const { opened, happened, tried, wanted } = this.events;
    let tile = this.#tiles.get(image.image_id);
    if (!tile) {
      tile = new Tile(image, this.session, {
        opened,
        happened,
        tried,
        wanted,
        changed: () => this.#changed(),
        selected: (chosen, withShift) => this.#select(chosen, withShift),
      });
      this.#tiles.set(image.image_id, tile);
    }
    return tile;
  }

  /** A state has changed: filter and count once for all that change together. */
  #changed(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#fill();
      this.events.changed();
    });
  }

  #tell(matching: number): void {
    const shown = this.#shown.filter(({ isShown }) => isShown);
    const words = [`${matching} ${matching === 1 ? "image" : "images"}`, `${shown.length} shown`];
    const reloading = shown.filter(({ status }) => status !== "loaded").length;
    if (reloading) words.push(`${reloading} of them not loaded again yet`);
    for (const status of ["waiting", "failed", "hidden"] as const) {
      const count = this.#shown.filter((tile) => tile.status === status && !tile.isShown).length;
      if (count) words.push(`${count} ${status}`);
    }
    this.#count.textContent = words.join(", ");
    this.#nothing.hidden = this.#shown.length > 0 || !this.images.length;
    const said = this.#nothing.querySelector("output");
    const text = this.#search.value.trim();
    if (said) said.textContent = text ? `No image has “${text}” in its id or file.` : "No image is like that now.";
    const selected = this.selected.length;
    this.#selection.hidden = selected === 0;
    this.#all.checked = selected > 0 && selected === this.#shown.length;
    this.#all.indeterminate = selected > 0 && !this.#all.checked;
  }

  #selectAll(checked: boolean): void {
    for (const tile of this.#shown) tile.box.checked = checked;
    this.#fill();
  }

  /** With Shift, select what is between this tile and the one before, too. */
  #select(tile: Tile, withShift: boolean): void {
    const from = this.#lastSelected ? this.#shown.indexOf(this.#lastSelected) : -1;
    const to = this.#shown.indexOf(tile);
    if (withShift && from >= 0) {
      const between = this.#shown.slice(Math.min(from, to), Math.max(from, to) + 1);
      for (const other of between) other.box.checked = tile.box.checked;
    }
    this.#lastSelected = tile;
    this.#fill();
  }

  /** Arrow keys, Home and End move between the names. */
  #move(event: KeyboardEvent): void {
    const from = this.#shown.findIndex(({ name }) => name === event.target);
    if (from < 0) return;
    const columns = getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
    const last = this.#shown.length - 1;
    const to = {
      ArrowRight: from + 1,
      ArrowLeft: from - 1,
      ArrowDown: from + columns,
      ArrowUp: from - columns,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#shown[Math.max(0, Math.min(last, to))]?.name.focus();
  }
}
