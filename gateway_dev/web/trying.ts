import type { SmartImageElement } from "../../gateway/web/src/static.js";
import { call, type Listed } from "./api.js";
import { byId, make } from "./elements.js";
import { bytesText, type Measured, measure } from "./measuring.js";
import type { Session } from "./session.js";
import { type Choice, coloured, LANGUAGES, type Language, snippet } from "./snippets.js";

interface Meta {
  version?: string | null;
  width?: number | null;
  height?: number | null;
  styles?: Record<string, { widths: number[]; formats: string[]; ratios?: string[] }>;
}

const SPACE = { width: 640, height: 427 };
const MOST_LOADS = 3;
const FIRST = { style: "card", width: 640 };

/** `Try it`: one image as chosen, what its load took, and the code that shows it. */
export class Trying {
  readonly #stage = byId("stage", HTMLDivElement);
  readonly #image = byId("image", HTMLSelectElement);
  readonly #style = byId("style", HTMLSelectElement);
  readonly #width = byId("width", HTMLSelectElement);
  readonly #ratio = byId("ratio", HTMLSelectElement);
  readonly #format = byId("format", HTMLSelectElement);
  readonly #mode = byId("mode", HTMLSelectElement);
  readonly #fresh = byId("fresh", HTMLButtonElement);
  readonly #measured = byId("measured", HTMLDListElement);
  readonly #loads = byId("loads", HTMLOListElement);
  readonly #code = byId("code", HTMLElement);
  readonly #title = byId("try", HTMLHeadingElement);
  #language: Language = "HTML";
  #meta: Meta = {};
  #taken: { label: string; found: Measured }[] = [];
  #generation = 0;

  constructor(
    private readonly images: readonly Listed[],
    private readonly session: Session,
  ) {
    this.#image.append(...images.map(({ image_id }) => make("option", { value: image_id }, image_id)));
    this.#image.addEventListener("input", () => this.#begin());
    this.#style.addEventListener("input", () => this.#chooseStyle());
    for (const field of [this.#width, this.#format]) field.addEventListener("input", () => this.#load());
    this.#ratio.addEventListener("input", () => this.#chooseRatio());
    this.#mode.addEventListener("input", () => this.#chooseStyle());
    byId("choices", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#load();
    });
    this.#fresh.addEventListener("click", () => this.#load({ fresh: true }));
    this.#offerLanguages();
  }

  /** Show this image and scroll to it. */
  show({ image_id }: Listed): void {
    this.#image.value = image_id;
    this.#title.closest("section")?.scrollIntoView({ block: "start" });
    this.#title.focus({ preventScroll: true });
    void this.#begin();
  }

  /** Begin again, as another user sees the image. */
  restart(): void {
    void this.#begin();
  }

  /** Load the picture again while it stays on the screen. */
  reload(): void {
    const picture = this.#stage.querySelector<HTMLElement>("smart-image") as SmartImageElement | null;
    picture?.reload({ fresh: true });
  }

  get #listed(): Listed | undefined {
    return this.images.find(({ image_id }) => image_id === this.#image.value);
  }

  async #begin(): Promise<void> {
    const generation = ++this.#generation;
    const image = this.#listed;
    if (!image) return;
    const { token } = this.session;
    const meta = await call<Meta>("GET", `/api/v1/images/${image.image_id}/meta`, token ? { token } : {}).catch(
      (): Meta => ({}),
    );
    if (generation !== this.#generation) return;
    this.#meta = meta;
    this.#taken = [];
    const names = Object.entries(meta.styles ?? {});
    const before = this.#style.value || FIRST.style;
    fill(this.#style, [["", "the original"], ...names.map(([name]): [string, string] => [name, name])], before);
    this.#chooseStyle();
  }

  /** Every ratio is offered: one that the chosen style does not crop to chooses the first style that does. */
  #chooseRatio(): void {
    const { value: ratio } = this.#ratio;
    const styles = this.#meta.styles ?? {};
    const cropsTo = (name: string) => styles[name]?.ratios?.includes(ratio);
    if (ratio && !cropsTo(this.#style.value)) this.#style.value = Object.keys(styles).find(cropsTo) ?? "";
    this.#chooseStyle();
  }

  #chooseStyle(): void {
    const isUrl = this.#mode.value === "url";
    if (isUrl) this.#style.value = ""; // a presigned URL opens the original
    const style = this.#meta.styles?.[this.#style.value];
    fill(
      this.#width,
      [["", "to fit"], ...(style?.widths ?? []).map((width): [string, string] => [String(width), `${width} px`])],
      this.#width.value || String(FIRST.width),
    );
    const ratios = [...new Set(Object.values(this.#meta.styles ?? {}).flatMap(({ ratios }) => ratios ?? []))];
    const cropped = style?.ratios?.includes(this.#ratio.value) ? this.#ratio.value : "";
    fill(this.#ratio, [["", "its own"], ...ratios.map((ratio): [string, string] => [ratio, ratio])], cropped);
    fill(
      this.#format,
      [["", "automatic"], ...(style?.formats ?? []).map((format): [string, string] => [format, format])],
      this.#format.value,
    );
    this.#style.disabled = isUrl;
    this.#width.disabled = !style?.widths.length;
    this.#ratio.disabled = isUrl || !ratios.length;
    this.#format.disabled = !style?.formats.length;
    this.#fresh.disabled = isUrl;
    this.#load();
  }

  #choice(): Choice {
    const { width, height } = this.#meta;
    const style = this.#meta.styles?.[this.#style.value];
    const wanted = Number(this.#width.value) || null;
    const { value: format } = this.#format;
    // The element takes all widths and formats of the style only if neither is named.
    const isChosen = wanted !== null || format !== "";
    const space = Math.min(wanted ?? SPACE.width, width || SPACE.width);
    const [across = 0, down = 0] = this.#ratio.value.split(":").map(Number);
    const own = width && height ? height / width : SPACE.height / SPACE.width;
    return {
      image: this.#image.value,
      style: this.#style.value,
      widths: wanted ? [wanted] : isChosen ? (style?.widths ?? []) : [],
      formats: format ? [format] : isChosen ? (style?.formats ?? []) : [],
      ratio: this.#ratio.value,
      mode: this.#mode.value,
      size: { width: space, height: Math.round(space * (across ? down / across : own)) },
    };
  }

  #load({ fresh = false } = {}): void {
    const image = this.#listed;
    if (!image) return;
    const choice = this.#choice();
    this.#writeCode(choice);
    const { style, widths, formats, ratio, mode } = choice;
    const width = widths.length === 1 ? widths[0] : Math.round(this.#stage.clientWidth);
    const picture = make("smart-image" as "div", {
      "image-id": image.image_id,
      alt: image.image_id,
      "style-name": style || null,
      version: style ? (this.#meta.version ?? null) : null, // as the element asks once it knows the image
      widths: widths.join(" ") || null,
      formats: formats.join(" ") || null,
      ratio: ratio || null,
      sizes: style ? `${width}px` : null,
      mode,
    }) as unknown as SmartImageElement;
    const began = performance.now();
    const generation = ++this.#generation;
    picture.addEventListener("load", async () => {
      const found = await (fresh ? this.#askAgain(picture.currentSrc) : measure(picture.currentSrc, began));
      if (generation === this.#generation) this.#tell(picture, found);
    });
    picture.addEventListener("retry", ({ detail: { attempt, delay } }) => {
      const next = `attempt ${attempt + 1} in ${(delay / 1000).toFixed(1)} s`;
      if (generation === this.#generation) void this.#tellFailure(picture, image, next);
    });
    picture.addEventListener("recover", () => {
      if (generation === this.#generation) this.#measured.replaceChildren(fact("Now", "shown again"));
    });
    picture.addEventListener("error", () => {
      if (generation === this.#generation) void this.#tellFailure(picture, image);
    });
    this.#measured.replaceChildren(fact("From", "…"), fact("Bytes", "…"), fact("Time", "…"), fact("Pixels", "…"));
    this.#stage.replaceChildren(picture as unknown as Node);
  }

  /** Ask the gateway for what the browser keeps already, and measure that. */
  async #askAgain(address: string): Promise<Measured> {
    const began = performance.now();
    await (await fetch(address, { cache: "reload" })).blob();
    return measure(address, began);
  }

  #tell({ naturalWidth, naturalHeight }: SmartImageElement, found: Measured): void {
    const { source, bytes, time, type, pixels } = found;
    const { width, height } = pixels ?? { width: naturalWidth, height: naturalHeight };
    const from = fact("From", source);
    from.dataset.source = source;
    this.#measured.replaceChildren(
      from,
      fact("Bytes", bytes === null ? "not told" : bytesText(bytes)),
      fact("Time", `${timeText(time)} ms`),
      fact("Pixels", `${width} × ${height}${type ? ` ${type}` : ""}`),
    );
    this.#taken = [...this.#taken, { label: source, found }].slice(-MOST_LOADS);
    const slowest = Math.max(...this.#taken.map((load) => load.found.time));
    this.#loads.replaceChildren(
      ...this.#taken.map((load) => {
        const bar = make("meter", { max: slowest, value: load.found.time, ariaLabel: `${load.label}, ms` });
        const row = make("li", {}, make("span", {}, load.label), bar, make("b", {}, `${timeText(load.found.time)} ms`));
        row.dataset.source = load.found.source;
        return row;
      }),
    );
  }

  /** Say why the picture is missing; `next`: when it is tried again. */
  async #tellFailure({ lastError }: SmartImageElement, image: Listed, next?: string): Promise<void> {
    const generation = this.#generation;
    const { kind, status } = lastError ?? {};
    const requestId = lastError?.requestId ?? (await this.session.requestIdOf(image));
    if (generation !== this.#generation) return;
    const cause = this.session.causeLink(image, requestId) ?? "unknown";
    const why = make("div", {}, make("dt", {}, "Why"), make("dd", {}, cause));
    const failed = fact("Failed", [status, kind].filter(Boolean).join(" "));
    this.#measured.replaceChildren(failed, why, ...(next ? [fact("Next", next)] : []));
  }

  #offerLanguages(): void {
    const place = byId("languages", HTMLFieldSetElement);
    for (const language of LANGUAGES) {
      const radio = make("input", { type: "radio", name: "language", value: language });
      radio.checked = language === this.#language;
      radio.addEventListener("input", () => {
        this.#language = language;
        this.#writeCode(this.#choice());
      });
      place.append(make("label", {}, radio, language));
    }
    const copy = byId("copy-code", HTMLButtonElement);
    let timer: ReturnType<typeof setTimeout> | undefined;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(this.#code.textContent ?? "");
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Not allowed";
      }
      clearTimeout(timer);
      timer = setTimeout(() => {
        copy.textContent = "Copy";
      }, 2000);
    });
  }

  #writeCode(choice: Choice): void {
    this.#code.replaceChildren(...coloured(snippet(this.#language, choice, location.origin)));
  }
}

function fill(select: HTMLSelectElement, options: [string, string][], value: string): void {
  select.replaceChildren(...options.map(([name, text]) => make("option", { value: name }, text)));
  select.value = options.some(([name]) => name === value) ? value : "";
}

function fact(name: string, value: string): HTMLElement {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value));
}

function timeText(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms));
}
