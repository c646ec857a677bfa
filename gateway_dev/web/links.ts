import { call } from "./api.js";

interface Links {
  links: Record<string, { url: string }>;
  errors: Record<string, string>;
}

interface Waiting {
  resolve(url: string): void;
  reject(reason: Error): void;
}

const LIFETIME = 3600; // seconds
const WAIT = 16; // ms: one frame
const MOST = 200; // ids in one call

/** Makes signed links: those asked for together in as few calls as possible. */
export class LinkMaker {
  #waiting = new Map<string, Waiting[]>();

  constructor(private readonly token: string | undefined) {}

  /** Return a link to the image. Rejects with the code of the gateway, for one if the user does not own the image. */
  make(id: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (!this.#waiting.size) setTimeout(() => this.#flush(), WAIT);
      this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), { resolve, reject }]);
    });
  }

  #flush(): void {
    const all = [...this.#waiting];
    this.#waiting = new Map();
    while (all.length) void this.#send(all.splice(0, MOST));
  }

  async #send(part: [string, Waiting[]][]): Promise<void> {
    const { token } = this;
    const body = { image_ids: part.map(([id]) => id), expires_in: LIFETIME };
    try {
      const made = await call<Links>("POST", "/api/v1/images/links", { body, ...(token && { token }) });
      for (const [id, waiting] of part) {
        const url = made.links[id]?.url;
        for (const caller of waiting)
          url ? caller.resolve(url) : caller.reject(new Error(made.errors[id] ?? "no answer"));
      }
    } catch (error) {
      for (const caller of part.flatMap(([, waiting]) => waiting)) caller.reject(error as Error);
    }
  }
}
