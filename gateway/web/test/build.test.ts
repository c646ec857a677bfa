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

test("gzipped, the core is at most 5.25 kB and the served file, core included, at most 9.5 kB", async () => {
  const core = await build({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      modulePreload: false,
      target: "es2022",
      lib: { entry: "src/core.ts", formats: ["es"] },
      rolldownOptions: { output: { minify: true, comments: false } },
    },
  });
  const [made] = Array.isArray(core) ? core : [core];
  if (!made || !("output" in made)) throw new Error("nothing was built");
  expect(gzipped(made.output[0].code)).toBeLessThanOrEqual(5.25 * 1024);
  const files = Object.entries(await filesIn(STATIC)).filter(([name]) => /\.[\w-]{8}\.js$/.test(name));
  expect(files).not.toEqual([]);
  for (const [name, text] of files) expect(gzipped(text), name).toBeLessThanOrEqual(9.5 * 1024);
});

test("the names that are shortened are none of JavaScript's own", () => {
  const values = [Math, JSON, Reflect, [], "", 0, /a/, new Map(), new Set(), new WeakMap(), new Date(), new Error()];
  const classes = [Object, Array, Number, Promise, Promise.prototype, Date, String, URL, URL.prototype, AbortSignal];
  for (const value of [...values, ...classes]) expect(INTERNAL.filter((name) => name in Object(value))).toEqual([]);
});

function gzipped(text: string): number {
  return gzipSync(text, { level: 9 }).length;
}
