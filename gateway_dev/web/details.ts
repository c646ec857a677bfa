import { imageProxy } from "../../gateway/web/src/static.js";
import { ApiError, call, type Listed } from "./api.js";
import { byId, make } from "./elements.js";
import type { Session } from "./session.js";

interface Meta {
  styles?: Record<string, { widths: number[]; formats: string[]; url: string }>;
  [name: string]: unknown;
}

const TIMES = /_at$|^last_access$/;

/** The dialog about one image: what the public API says of it. */
export class Details {
  readonly #dialog = byId("details", HTMLDialogElement);
  readonly #title = byId("details-title", HTMLHeadingElement);
  readonly #body = byId("details-body", HTMLDivElement);
  #generation = 0;

  constructor(private readonly session: Session) {
    this.#dialog.addEventListener("close", () => this.#body.replaceChildren());
    // A click beside the dialog closes it.
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
  }

  /** Open the dialog; its parts come as they are answered. */
  async open(image: Listed): Promise<void> {
    const generation = ++this.#generation;
    this.#title.textContent = image.image_id;
    const facts = make("div", { className: "facts" });
    this.#body.replaceChildren(this.#picture(image), facts);
    this.#dialog.showModal();
    const parts = await Promise.all([
      table("File", { file: image.file, owner: image.owner, visibility: image.public ? "public" : "private" }),
      this.#ask("Metadata", `/api/v1/images/${image.image_id}/meta`),
      this.#ask("Presigned URL", `/api/v1/images/${image.image_id}/status`),
      this.#headers(image),
      this.#variants(image),
    ]);
    if (generation === this.#generation) facts.replaceChildren(...parts.flat());
  }

  #picture(image: Listed): HTMLElement {
    return make("smart-image" as "div", {
      "image-id": image.image_id,
      alt: image.image_id,
      width: 640,
      height: 420,
      mode: !image.public && this.session.way === "url" ? "url" : "proxy",
    });
  }

  async #ask(title: string, path: string): Promise<HTMLElement[]> {
    try {
      const { styles: _, ...found } = await call<Meta>("GET", path, this.#as());
      return [table(title, found)];
    } catch (error) {
      return reason(title, error);
    }
  }

  /** The fields of a HEAD, as any client gets them. */
  async #headers(image: Listed): Promise<HTMLElement[]> {
    const headers = this.session.token ? { Authorization: `Bearer ${this.session.token}` } : {};
    try {
      const answer = await fetch(`/i/${image.image_id}`, { method: "HEAD", headers, cache: "no-store" });
      const fields = { status: answer.status, ...Object.fromEntries(answer.headers) };
      return [table("Answer to HEAD", fields)];
    } catch (error) {
      return reason("Answer to HEAD", error);
    }
  }

  /** The addresses of the styles; with widths and formats if the gateway has variants. */
  async #variants(image: Listed): Promise<HTMLElement[]> {
    const { image_id: id } = image;
    const meta = await call<Meta>("GET", `/api/v1/images/${id}/meta`, this.#as()).catch(() => undefined);
    const link = image.public || !this.session.owns(image) ? null : await this.session.linkTo(image).catch(() => null);
    const rows = Object.entries(meta?.styles ?? {}).map(([style, { widths, formats }]) =>
      make(
        "div",
        {},
        make("dt", {}, style),
        make(
          "dd",
          { className: "variants" },
          ...widths.flatMap((width) =>
            formats.map((format) =>
              anchor(imageProxy.proxyUrl(id, { style, width, format, link }), `${width} ${format}`),
            ),
          ),
        ),
      ),
    );
    if (!rows.length) {
      const told = (await (await fetch("/static/config.json")).json()) as { styles: string[] };
      const addresses = told.styles.map((style) => anchor(imageProxy.proxyUrl(id, { style, link }), style));
      rows.push(make("div", {}, make("dt", {}, "styles"), make("dd", { className: "variants" }, ...addresses)));
    }
    const original = make("dd", { className: "variants" }, anchor(imageProxy.proxyUrl(id, { link }), "original"));
    return [section("Variants", make("dl", {}, make("div", {}, make("dt", {}, "image"), original), ...rows))];
  }

  #as(): { token?: string } {
    const { token } = this.session;
    return token ? { token } : {};
  }
}

function section(title: string, content: Node | string): HTMLElement {
  return make("section", {}, make("h3", {}, title), content);
}

function table(title: string, facts: Record<string, unknown>): HTMLElement {
  const rows = Object.entries(facts).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, shown(name, value))),
  );
  return section(title, make("dl", {}, ...rows));
}

function reason(title: string, error: unknown): HTMLElement[] {
  // A gateway without metadata has no such address.
  if (error instanceof ApiError && error.code === "not_found") return [];
  const isDenied = error instanceof ApiError && (error.status === 401 || error.status === 404);
  const text = isDenied ? "Only the owner is told." : error instanceof Error ? error.message : String(error);
  return [section(title, make("p", {}, text))];
}

function shown(name: string, value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number" && TIMES.test(name)) return new Date(value * 1000).toLocaleString();
  return String(value);
}

function anchor(href: string, text: string): HTMLElement {
  return make("a", { href, target: "_blank", rel: "noreferrer" }, text);
}
