import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { expect, test } from "vitest";
import { INTERNAL } from "../vite.config.js";

const STATIC = fileURLToPath(new URL("../static/", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));

async function filesIn(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.flatMap((entry) => (entry.isFile() ? entry.name : [])).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")])),
  );
}

test("the files that the gateway serves are those that a fresh build makes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "smart-image-"));
  try {
    await build({ root: ROOT, mode: "static", logLevel: "error", build: { outDir: folder, emptyOutDir: true } });
    const [committed, fresh] = [await filesIn(STATIC), await filesIn(folder)];
    expect(Object.keys(committed)).toEqual(Object.keys(fresh));
    for (const [name, text] of Object.entries(fresh))
      expect(committed[name] === text, `${name}: run make web`).toBe(true);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the file that every page loads is at most 8,192 bytes, gzipped", async () => {
  const sizes = Object.entries(await filesIn(STATIC)).map(([name, text]) => [name, gzipped(text)] as const);
  expect(Object.fromEntries(sizes)["smart-image.js"]).toBeLessThanOrEqual(8192);
  // What is loaded when it is used: after a failure or for a call, to keep a displayed image, to report.
  const others = sizes.filter(([name]) => /^smart-image-\w+\./.test(name));
  expect(others.map(([name]) => name.split(".")[0])).toEqual([
    "smart-image-calls",
    "smart-image-guard",
    "smart-image-monitor",
  ]);
  for (const [name, size] of others) expect(size, name).toBeLessThanOrEqual(3456);
});

test("the names that are shortened are none of JavaScript's own", () => {
  const values = [Math, JSON, Reflect, [], "", 0, /a/, new Map(), new Set(), new WeakMap(), new Date(), new Error()];
  const classes = [Object, Array, Number, Promise, Promise.prototype, Date, String, URL, URL.prototype, AbortSignal];
  for (const value of [...values, ...classes]) expect(INTERNAL.filter((name) => name in Object(value))).toEqual([]);
});

function gzipped(text: string): number {
  return gzipSync(text, { level: 9 }).length;
}
