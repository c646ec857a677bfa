// Requests to the gateway, and what the page says of those that an operator makes.
import { el } from "./elements.js";
import { word } from "./language.js";

const TIME_LIMIT = 10_000;
export const LONG = 60_000; // for a question that the gateway passes on to all that it depends on

/** The gateway did not answer. */
export class NoAnswer extends Error {}

/** The gateway answered with an error. */
export class Refused extends Error {}

/** Return the response; throws NoAnswer or Refused. `limit` in ms. */
export async function ask(path, { limit = TIME_LIMIT, ...options } = {}) {
  const headers = new Headers(options.headers);
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(limit) });
  } catch (error) {
    throw new NoAnswer(error.message, { cause: error });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Refused(body?.code ? `${body.code}: ${body.message}` : `HTTP ${response.status}`);
}

async function read(response, kind) {
  try {
    return await response[kind]();
  } catch (error) {
    throw new NoAnswer(error.message, { cause: error });
  }
}

/** Return the `data` of an answer in JSON. */
export const call = async (path, options) => (await read(await ask(path, options), "json")).data;

/** Return the body of an answer. */
export const bytes = async (path, options) => read(await ask(path, options), "blob");

/** Show the field of the token, or the key that it is behind. The key is there once the gateway has accepted the token. */
export function showToken(isKnown, isOpen = !isKnown) {
  el("secret").hidden = !isOpen;
  el("key").hidden = !isKnown;
  el("key").ariaExpanded = String(isOpen);
}

export function notice(text, className = "") {
  el("notice").textContent = text;
  el("notice").className = className;
}

/** Say what came of `work`, which gets the options of a request with the token; returns its result, null if it failed. */
export async function withToken(work, done = "done") {
  notice("");
  const token = el("token").value;
  if (!token) {
    notice(word("need_token"), "warning");
    showToken(false);
    el("token").focus();
    return null;
  }
  try {
    const result = await work({ headers: { Authorization: `Bearer ${token}` } });
    if (done !== null) notice(word(done), "good");
    showToken(true);
    return result;
  } catch (error) {
    if (error instanceof Refused && /^(unauthorized|forbidden):/.test(error.message)) showToken(false);
    notice(failure(error), "bad");
    return null;
  }
}

/** The sentence about a request that failed. */
export const failure = (error) =>
  error instanceof NoAnswer ? word("no_answer") : word("refused", { message: error.message });

/** As withToken, for a change. */
export const post = (path, body, done) =>
  withToken((options) => call(path, { ...options, method: "POST", body: JSON.stringify(body) }), done);
