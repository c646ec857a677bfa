import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "#hints": fileURLToPath(new URL("src/no-hints.ts", import.meta.url)) } },
  test: { include: ["test/**/*.test.ts"], restoreMocks: true, testTimeout: 60_000 },
});
