// Elements of the page. Ids, reasons and errors are others' text: they are only ever set as text, never as markup.
import { language, word } from "./language.js";

export const el = (id) => document.getElementById(id);

export function node(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

export function button(text, pressed, className = "") {
  const made = node("button", text, className);
  made.type = "button";
  made.addEventListener("click", pressed);
  return made;
}

/** A table with a head; a cell is text or an element. Without rows: the text for none. */
export function table(columns, rows) {
  if (!rows.length) return node("p", word("none"), "none");
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const column of columns) {
    const cell = node("th", word(column));
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, index) => {
      const cell = line.insertCell();
      cell.dataset.label = word(columns[index]); // in place of the head, on a narrow screen
      cell.append(value);
    });
  }
  return made;
}

/** Fill `place` anew if `key` or the language has changed, so that focus and the live region stay quiet otherwise. */
export function replace(place, key, build) {
  const text = JSON.stringify([language(), key]);
  if (place.dataset.key === text) return;
  place.dataset.key = text;
  place.replaceChildren(...[build()].flat());
}

/** Ask in a dialog; returns whether the answer is to go on. */
export async function confirmed(question) {
  const dialog = el("confirm");
  el("question").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "yes";
}
