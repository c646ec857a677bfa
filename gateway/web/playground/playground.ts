/** The playground: composes session, grid, buttons, details and log. */
import { stack } from "./api.js";
import { Breaking } from "./breaking.js";
import { Details } from "./details.js";
import { byId, make } from "./elements.js";
import { Grid } from "./grid.js";
import { Log } from "./log.js";
import { manage } from "./managing.js";
import { Session, type Way } from "./session.js";

async function start(): Promise<void> {
  const { images, tokens, faults } = await stack();
  const session = new Session(images, tokens);
  const details = new Details(session);
  const log = new Log();
  const grid: Grid = new Grid(images, session, {
    changed: () => breaking.changed(),
    selected: () => managing.selected(),
    happened: ({ image }, text) => log.add(`${image.image_id}: ${text}`),
    opened: ({ image }) => void details.open(image),
  });
  const breaking = new Breaking(grid, faults);
  const managing = manage(grid, session);
  chooseUser(session, grid, Object.keys(tokens));
}

function chooseUser(session: Session, grid: Grid, users: readonly string[]): void {
  const user = byId("user", HTMLSelectElement);
  const way = byId("way", HTMLSelectElement);
  user.append(...users.map((name) => make("option", { value: name }, name)));
  byId("session", HTMLFormElement).addEventListener("input", () => {
    session.become(user.value, way.value as Way);
    grid.restartPrivate();
  });
}

start().catch((error: unknown) => {
  byId("told", HTMLOutputElement).textContent = `The playground could not start: ${error}`;
});
