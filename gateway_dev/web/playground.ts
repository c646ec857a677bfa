/** The playground: composes session, grid, buttons, details, log and `Try it`. */
import { stack } from "./api.js";
import { Breaking } from "./breaking.js";
import { Details } from "./details.js";
import { byId, make } from "./elements.js";
import { Grid } from "./grid.js";
import { Log } from "./log.js";
import { manage } from "./managing.js";
import { Session, type Way } from "./session.js";
import { Trying } from "./trying.js";

async function start(): Promise<void> {
  const { images, tokens, faults, console, site, admin_token: adminToken } = await stack();
  byId("site", HTMLAnchorElement).hidden = !site;
  const users = Object.keys(tokens);
  const session = new Session(images, tokens, console, adminToken);
  session.become(users[0] ?? "", "url");
  const trying = new Trying(images, session);
  const details = new Details(session);
  const log = new Log();
  const grid: Grid = new Grid(images, session, {
    changed: () => breaking.changed(),
    happened: ({ image }, text, requestId) =>
      log.add(image.image_id, text, requestId ? session.causeLink(image, requestId) : null),
    opened: ({ image }) => void details.open(image),
    tried: ({ image }) => trying.show(image),
    wanted: (owner) => become(owner),
  });
  const breaking = new Breaking(grid, trying, faults);
  manage(grid, session);
  const become = chooseUser(session, users, () => {
    grid.restartPrivate();
    trying.restart();
  });
  showConsole(console, adminToken);
  trying.restart();
}

/** Offer the users and the ways to private images; returns a function that chooses a user. */
function chooseUser(session: Session, users: readonly string[], changed: () => void): (user: string) => void {
  const way = byId("way", HTMLSelectElement);
  const place = byId("users", HTMLFieldSetElement);
  const radios = [...users, ""].map((value) =>
    make("input", { type: "radio", name: "user", value, checked: value === session.user }),
  );
  place.append(...radios.map((radio) => make("label", {}, radio, radio.value || "nobody")));
  const become = (user: string) => {
    for (const radio of radios) radio.checked = radio.value === user;
    session.become(user, way.value as Way);
    changed();
  };
  const chosen = () => become(radios.find(({ checked }) => checked)?.value ?? "");
  place.addEventListener("input", chosen);
  way.addEventListener("input", chosen);
  return become;
}

function showConsole(address: string, token: string): void {
  const link = byId("console", HTMLAnchorElement);
  link.hidden = !address;
  link.href = `${address}/#token=${token}`;
  link.title = "What is wrong now, and why.";
}

start().catch((error: unknown) => {
  byId("told", HTMLOutputElement).textContent = `The playground could not start: ${error}`;
});
