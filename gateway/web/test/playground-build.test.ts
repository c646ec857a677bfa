import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

async function filesIn(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")])),
  );
}

test("the files of the playground are those that a fresh build makes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "playground-"));
  try {
    await build({
      root: ROOT,
      configFile: join(ROOT, "vite.playground.config.ts"),
      logLevel: "error",
      build: { outDir: folder, emptyOutDir: true },
    });
    expect(await filesIn(join(ROOT, "static", "playground"))).toEqual(await filesIn(folder));
  } finally {
    await rm(folder, { recursive: true });
  }
});
