import { call } from "./api.js";
import { byId, make } from "./elements.js";
import type { Grid } from "./grid.js";

const MOST_EXPIRED = 200; // ids in one request
const RESTART_PAUSE = 2; // seconds that the gateway is down
const OFFLINE_PAUSE = 4;
const DRAIN_LIMIT = 15_000; // ms
const POLL = 150; // ms
const MOST_LIGHTS = 60;

/** Texts of what is on and off. */
const FAULTS = {
  throttle: {
    on: "COS answers 503 SlowDown to everything. What is shown stays; turn it off and the rest comes back.",
    off: "COS answers again.",
  },
  hang: {
    on: "COS accepts requests and never answers. What is shown stays; turn it off and the rest comes back.",
    off: "COS answers again.",
  },
} as const;

type FaultName = keyof typeof FAULTS;

/** The buttons that inject faults; explains what to look for, and says when all pictures are displayed again. */
export class Breaking {
  readonly #told = byId("told", HTMLOutputElement);
  readonly #lights = byId("lights", HTMLDivElement);
  readonly #buttons: HTMLButtonElement[] = [];
  #since: number | undefined;

  constructor(
    private readonly grid: Grid,
    private readonly trying: { reload(): void },
    faults: readonly string[],
  ) {
    this.#onClick("expire", () => this.#expire());
    this.#onClick("restart", () => this.#restart());
    this.#onClick("offline", () => this.#goOffline());
    this.#onClick("again", async () => {
      this.#tell("Every picture begins again from nothing.", true);
      for (const tile of this.grid.shown) tile.restart({ fresh: true });
    });
    for (const name of Object.keys(FAULTS) as FaultName[]) {
      const button = this.#onClick(name, () => this.#toggle(name, button));
      button.ariaPressed = String(faults.includes(name));
    }
  }

  /** States have changed: show them beside the buttons, and say so once all pictures are shown again. */
  changed(): void {
    const lights = this.grid.shown.slice(0, MOST_LIGHTS).map(({ image, status, isShown }) =>
      make("i", {
        className: isShown && status !== "loaded" ? "kept" : status,
        title: `${image.image_id}: ${isShown && status !== "loaded" ? "shown, and not loaded again yet" : status}`,
      }),
    );
    this.#lights.replaceChildren(...lights);
    this.#lights.ariaLabel = byId("count", HTMLOutputElement).textContent;
    if (this.#since === undefined || !this.grid.shown.length || this.grid.shown.some(({ isPending }) => isPending))
      return;
    const count = (wanted: string) => this.grid.shown.filter(({ status }) => status === wanted).length;
    const loaded = count("loaded");
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(1);
    this.#since = undefined;
    const still = count("failed");
    this.#tell(`${loaded} pictures are shown, ${seconds} s later${still ? `; ${still} failed` : ""}.`);
  }

  async #expire(): Promise<void> {
    const image_ids = this.grid.shown.slice(0, MOST_EXPIRED).map(({ image }) => image.image_id);
    if (!image_ids.length) return;
    await call("POST", "/dev/expire", { body: { image_ids } });
    this.#tell("COS refuses the URLs of these images as expired (403). The gateway signs new ones.", true);
    this.#reload();
  }

  async #toggle(name: FaultName, button: HTMLButtonElement): Promise<void> {
    const on = button.ariaPressed !== "true";
    await call("POST", "/dev/faults", { body: { fault: name, on } });
    button.ariaPressed = String(on);
    const isAnyPending = this.grid.shown.some(({ isPending }) => isPending);
    this.#tell(FAULTS[name][on ? "on" : "off"], !on && isAnyPending);
    if (on) this.#reload();
  }

  async #restart(): Promise<void> {
    await this.#stopGateway(RESTART_PAUSE);
    this.#tell("The gateway is away. What is shown stays.", true);
    this.#reload();
    await until(isUp);
    this.#tell("The gateway is back: one picture asks first, then the rest.", true);
  }

  /** Be offline as far as a page can: requests to the gateway fail, and `navigator.onLine` is false. */
  async #goOffline(): Promise<void> {
    await this.#stopGateway(OFFLINE_PAUSE);
    Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
    dispatchEvent(new Event("offline"));
    this.#tell(`You are offline for ${OFFLINE_PAUSE} seconds. What is shown stays.`, false);
    this.#reload();
    try {
      await until(isUp);
    } finally {
      Reflect.deleteProperty(navigator, "onLine");
      this.#tell("You are online again.", true);
      dispatchEvent(new Event("online"));
    }
  }

  async #stopGateway(pause: number): Promise<void> {
    await call("POST", "/dev/restart", { body: { pause } });
    this.#tell("The gateway finishes what it has begun, then stops.");
    await until(async () => !(await isUp()));
  }

  #reload(): void {
    for (const tile of this.grid.shown) tile.reload();
    this.trying.reload();
  }

  /** Show what happens; `heals`: say so, too, when all pictures are shown. */
  #tell(text: string, heals?: boolean): void {
    this.#told.textContent = text;
    if (heals !== undefined) this.#since = heals ? performance.now() : undefined;
  }

  /** While one button works, the others wait. */
  #onClick(id: string, work: () => Promise<void>): HTMLButtonElement {
    const button = byId(id, HTMLButtonElement);
    this.#buttons.push(button);
    button.addEventListener("click", async () => {
      for (const button of this.#buttons) button.disabled = true;
      try {
        await work();
      } catch (error) {
        this.#tell(`That did not work: ${error instanceof Error ? error.message : error}`);
      } finally {
        for (const button of this.#buttons) button.disabled = false;
        button.focus({ preventScroll: true });
      }
    });
    return button;
  }
}

async function isUp(): Promise<boolean> {
  try {
    return (await fetch("/healthz", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DRAIN_LIMIT;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("it took too long");
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}
