import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { expect, test } from "vitest";

const STATIC = fileURLToPath(new URL("../static/", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));

async function filesIn(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")])),
  );
}

test("the files that the gateway serves are those that a fresh build makes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "smart-image-"));
  try {
    await build({ root: ROOT, mode: "static", logLevel: "error", build: { outDir: folder, emptyOutDir: true } });
    expect(await filesIn(STATIC)).toEqual(await filesIn(folder));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("gzipped, the core is at most 5.25 kB and the served file, core included, at most 9.5 kB", async () => {
  const core = await build({
    root: ROOT,
    mode: "budget",
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: true,
      modulePreload: false,
      target: "es2022",
      lib: { entry: "src/core.ts", formats: ["es"] },
    },
  });
  const [made] = Array.isArray(core) ? core : [core];
  if (!made || !("output" in made)) throw new Error("nothing was built");
  expect(gzipSync(made.output[0].code, { level: 9 }).length).toBeLessThanOrEqual(5.25 * 1024);
  for (const [name, text] of Object.entries(await filesIn(STATIC))) {
    if (/\.[\w-]{8}\.js$/.test(name)) expect(gzipSync(text, { level: 9 }).length).toBeLessThanOrEqual(9.5 * 1024);
  }
});
