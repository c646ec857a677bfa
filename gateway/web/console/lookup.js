// One image: why it is served or not, its picture, a new URL, a purge, and the same as a command.
import { confirmed, el, node } from "./elements.js";
import { bytes, call, LONG, notice, post, withToken } from "./gateway.js";
import { count, time, word } from "./language.js";

let asked = 0; // the number of the newest question; an older answer is not shown
const FIELDS = { image: "id", user: "user", style: "style" }; // names in the address, and fields

let request = ""; // the id of the request that led here
let picture = null; // the address of the blob that is shown

/** Look up an image; `style` is the name of a rendition, such as card@640.webp, or null. */
export function lookUp(id, style = null) {
  el("id").value = id;
  el("style").value = style ?? "";
  el("look-up").scrollIntoView({ block: "start" });
  return explain();
}

/** The playground's links have the token of `dev`. It does not replace another one, and does not stay in the address. */
function takeToken(named) {
  const token = named.get("token");
  if (!token) return;
  named.delete("token");
  history.replaceState(null, "", named.size ? `#${named}` : location.pathname + location.search);
  if (el("token").value) return;
  el("token").value = token;
  el("token").dispatchEvent(new Event("input"));
}

/** Look up the image that the address of the page names: #image=ID&user=USER&style=STYLE&request=REQUEST. */
export function followAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  takeToken(named);
  if (!named.get("image")) return;
  for (const [name, place] of Object.entries(FIELDS)) el(place).value = named.get(name) ?? "";
  request = named.get("request") ?? "";
  lookUp(el("id").value, el("style").value);
}

/** The id in the field: without spaces around it, or of a pasted address. */
function imageId() {
  const text = el("id").value.trim();
  const [, named] = /\/(?:i|images)\/([^/?#]+)/.exec(text) ?? [];
  try {
    el("id").value = named ? decodeURIComponent(named) : text;
  } catch {
    el("id").value = text;
  }
  return el("id").value;
}

/** Put the look-up into the address of the page, so that it can be sent to others. */
function writeAddress() {
  const given = [
    ...Object.entries(FIELDS).map(([name, place]) => [name, el(place).value.trim()]),
    ["request", request],
  ];
  const address = `#${new URLSearchParams(given.filter(([, value]) => value))}`;
  if (address !== location.hash) history.pushState(null, "", address);
}

function explainPath() {
  const name = el("style").value.trim();
  const [, style = name, w, ratio, format] = /^([^@]*)(?:@(\d+)(?:\.(\d+x\d+))?\.(\w+))?$/.exec(name) ?? [];
  const given = { user: el("user").value.trim(), style, w, r: ratio?.replace("x", ":"), format, request };
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
  return `api/v1/monitoring/explain/${encodeURIComponent(imageId())}${query.size ? `?${query}` : ""}`;
}

function clear() {
  asked += 1;
  el("found").hidden = true;
  el("asking").hidden = true;
  hidePicture();
  return asked;
}

function hidePicture() {
  if (picture !== null) URL.revokeObjectURL(picture);
  picture = null;
  el("picture").replaceChildren();
}

async function explain() {
  const mine = clear();
  const path = explainPath();
  writeAddress();
  const found = await withToken((options) => waiting(mine, call(path, { ...options, limit: LONG })), null);
  if (found === null || mine !== asked) return;
  const { verdict, image_id, ...sections } = found;
  el("verdict").className = verdict.served ? "good" : "bad";
  el("verdict").textContent =
    `${image_id}: ${[verdict.status, verdict.code].filter(Boolean).join(" ")} · ${verdict.reason}`;
  el("advice").textContent = verdict.advice ?? "";
  el("facts").replaceChildren(
    ...Object.entries(sections).map(([name, facts]) => {
      const section = document.createElement("section");
      section.append(node("h3", name.replaceAll("_", " ")), list(facts));
      return section;
    }),
  );
  el("found").hidden = false;
}

/** Say since how long the answer is waited for, unless another question has come. */
async function waiting(mine, answer) {
  const began = performance.now();
  const tell = () => {
    if (mine !== asked) return;
    const seconds = Math.round((performance.now() - began) / 1000);
    el("asked").textContent = word("asking", { id: el("id").value, seconds: count(seconds) });
    el("asking").hidden = false;
  };
  tell();
  const timer = setInterval(tell, 1000);
  try {
    return await answer;
  } finally {
    clearInterval(timer);
    if (mine === asked) el("asking").hidden = true;
  }
}

function list(facts) {
  const made = document.createElement("dl");
  for (const [name, fact] of Object.entries(facts)) {
    const value = document.createElement("dd");
    if (fact !== null && typeof fact === "object" && !Array.isArray(fact)) value.append(list(fact));
    else value.textContent = text(name, fact);
    made.append(node("dt", name.replaceAll("_", " ")), value);
  }
  return made;
}

function text(name, fact) {
  if (fact === null || fact.length === 0) return word("nothing");
  if (typeof fact === "boolean") return word(fact ? "yes" : "no");
  if (Array.isArray(fact)) return fact.join(", ");
  return name.endsWith("_at") && typeof fact === "number" ? `${fact} (${time(fact)})` : String(fact);
}

async function show() {
  const mine = asked;
  hidePicture();
  const id = imageId();
  const body = await withToken(
    (options) => bytes(`api/v1/monitoring/preview/${encodeURIComponent(id)}`, options),
    null,
  );
  if (body === null || mine !== asked) return;
  hidePicture();
  picture = URL.createObjectURL(body);
  const image = new Image();
  const caption = node("figcaption", "");
  image.alt = id;
  image.addEventListener("load", () => {
    const size = `${image.naturalWidth} × ${image.naturalHeight}`;
    caption.textContent = `${size} · ${body.type} · ${word("size", { bytes: count(body.size) })}`;
  });
  image.addEventListener("error", () => {
    caption.textContent = word("no_picture", { type: body.type });
    caption.className = "bad";
    image.remove();
  });
  image.src = picture;
  const figure = document.createElement("figure");
  figure.append(image, caption);
  el("picture").append(figure);
}

async function copy() {
  // No character of the address ends a text within single quotes: encodeURIComponent leaves ' alone, so it is encoded here.
  const address = new URL(explainPath(), location.href).href.replaceAll("'", "%27");
  const command = `curl -H "Authorization: Bearer $TOKEN" '${address}'`;
  try {
    await navigator.clipboard.writeText(command); // only on https and localhost
    notice(word("copied"), "good");
  } catch {
    el("command").textContent = command;
    el("command").hidden = false;
    getSelection().selectAllChildren(el("command"));
    notice(word("not_copied"), "warning");
  }
}

/** Make the form work; `changed` is called after each change. */
export function start(changed) {
  const valid = (work) => () => el("lookup").reportValidity() && work();
  el("lookup").addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
  el("lookup").addEventListener("input", () => {
    request = "";
    clear();
  });
  addEventListener("hashchange", followAddress);
  followAddress();
  el("show").addEventListener("click", valid(show));
  el("curl").addEventListener("click", valid(copy));
  el("refresh").addEventListener(
    "click",
    valid(async () => {
      const path = `api/v1/images/${encodeURIComponent(imageId())}/url/refresh`;
      const renewed = await post(path, undefined, null);
      // The URL opens the image for everybody who has it: it is not shown.
      if (renewed !== null) notice(word("renewed", { time: time(renewed.expires_at) }), "good");
      await changed();
    }),
  );
  el("purge").addEventListener(
    "click",
    valid(async () => {
      const id = imageId();
      if (await confirmed(word("sure_purge", { id }))) await post("api/v1/cache/purge", { image_ids: [id] });
      await changed();
    }),
  );
}
