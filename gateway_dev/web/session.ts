import { configureSmartImage } from "../../gateway/web/src/static.js";
import { ApiError, type Listed } from "./api.js";
import { make } from "./elements.js";
import { LinkMaker } from "./links.js";

/** How private images are opened: by presigned URLs of a batch call, or by signed links. */
export type Way = "url" | "link";

/** The user of the page, with the tokens and links that the component needs. */
export class Session {
  user = "";
  way: Way = "url";
  readonly #links = new Map<string, Promise<string>>();
  #maker = new LinkMaker(undefined);
  readonly #images: ReadonlyMap<string, Listed>;

  constructor(
    images: Iterable<Listed>,
    private readonly tokens: Readonly<Record<string, string>>,
    private readonly console: string,
    private readonly adminToken: string,
  ) {
    this.#images = new Map([...images].map((image) => [image.image_id, image]));
    configureSmartImage({ getLink: (id, { renew }) => this.#linkFor(id, renew), monitor: true });
  }

  /** The token of the chosen user; undefined for nobody. */
  get token(): string | undefined {
    return this.tokens[this.user];
  }

  /** Whether the chosen user owns the image. */
  owns(image: Listed): boolean {
    return this.user !== "" && image.owner === this.user;
  }

  /** Become another user, or choose another way to private images. */
  become(user: string, way: Way): void {
    this.user = user;
    this.way = way;
    this.#links.clear();
    this.#maker = new LinkMaker(this.token);
    const { token } = this;
    configureSmartImage({ getToken: () => token ?? null }); // the component forgets the token and URLs of the user before
  }

  /** Whether another user's image is hidden from the chosen one. */
  isHidden(image: Listed): boolean {
    return !image.public && !this.owns(image);
  }

  /** Ask for the image once more, and return the id of that request: browsers hide that of a failed picture. */
  async requestIdOf({ image_id }: Listed, query = ""): Promise<string | null> {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    const answer = await fetch(`/i/${image_id}${query}`, { method: "HEAD", headers, cache: "no-store" }).catch(
      () => null,
    );
    return answer?.headers.get("X-Request-Id") ?? null;
  }

  /** Return a link to the console's look-up of the image; null without a console. `text`: in place of the request's id. */
  causeLink({ image_id }: Listed, requestId: string | null | undefined, text?: string): HTMLElement | null {
    if (!this.console) return null;
    const asked = new URLSearchParams({
      image: image_id,
      ...(this.user && { user: this.user }),
      ...(requestId && { request: requestId }),
      token: this.adminToken,
    });
    return make(
      "a",
      {
        href: `${this.console}/#${asked}`,
        target: "_blank",
        rel: "noreferrer",
        className: "out",
        title: "Why? The console looks the request and the image up.",
      },
      text ?? (requestId ? `request ${requestId.slice(0, 8)}` : "look it up"),
    );
  }

  /** Return an address that opens the image: the permanent one, with a signed link if the image is private. */
  async linkTo(image: Listed): Promise<string> {
    return image.public ? `/i/${image.image_id}` : this.#maker.make(image.image_id);
  }

  async #linkFor(id: string, renew: boolean): Promise<string | null> {
    const image = this.#images.get(id);
    if (!image || image.public || !this.owns(image)) return null;
    if (renew) this.#links.delete(id);
    let link = this.#links.get(id);
    if (!link) {
      link = this.#maker.make(id);
      this.#links.set(id, link);
      link.catch(() => this.#links.delete(id));
    }
    return link.catch((error: unknown) => {
      if (error instanceof ApiError && error.code === "not_found") return null; // access.signed_links is not set
      throw error;
    });
  }
}
