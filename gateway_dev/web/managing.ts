import { imageProxy } from "../../gateway/web/src/static.js";
import { byId } from "./elements.js";
import type { Grid } from "./grid.js";
import type { Session } from "./session.js";
import type { Tile } from "./tile.js";

/** Requests at once, for many selected images. */
const PARALLEL = 6;

/** Connect the buttons for selected images. */
export function manage(grid: Grid, session: Session): void {
  const done = byId("done", HTMLOutputElement);
  const buttons = ["refresh", "copy", "reload"].map((id) => byId(id, HTMLButtonElement));
  const [refresh, copy, reload] = buttons;
  refresh?.addEventListener("click", async () => {
    done.textContent = "…";
    const results = await each(grid.selected, ({ image }) => imageProxy.refresh(image.image_id));
    const made = results.filter(({ status }) => status === "fulfilled").length;
    const refused = results.length - made;
    done.textContent = `${made} new URLs${refused ? `; ${refused} refused: only the owner may refresh` : ""}`;
    for (const tile of grid.selected) tile.reload();
  });
  copy?.addEventListener("click", async () => {
    const results = await Promise.allSettled(grid.selected.map(({ image }) => session.linkTo(image)));
    const links = results.filter((result) => result.status === "fulfilled").map(({ value }) => location.origin + value);
    const refused = results.length - links.length;
    try {
      await navigator.clipboard.writeText(links.join("\n"));
      done.textContent = `${links.length} copied${refused ? `; ${refused} refused: only the owner makes links` : ""}`;
    } catch {
      done.textContent = "The browser does not allow to copy.";
    }
  });
  reload?.addEventListener("click", () => {
    for (const tile of grid.selected) tile.reload();
    done.textContent = `${grid.selected.length} reloaded`;
  });
}

/** Do something for each tile, a few at once; like `Promise.allSettled`. */
async function each<T>(tiles: readonly Tile[], work: (tile: Tile) => Promise<T>): Promise<PromiseSettledResult<T>[]> {
  const results: PromiseSettledResult<T>[] = [];
  const waiting = [...tiles.entries()];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [at, tile] = next;
      [results[at]] = (await Promise.allSettled([work(tile)])) as [PromiseSettledResult<T>];
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
}
