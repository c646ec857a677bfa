import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

const SOURCES = "playground";

/** Makes the playground of `gateway dev`. It uses the component as any page does: by the file that the gateway serves. */
export default defineConfig({
  build: {
    outDir: "static/playground",
    target: "es2022",
    modulePreload: false,
    minify: false,
    lib: { entry: `${SOURCES}/playground.ts`, formats: ["es"], fileName: () => "playground.js" },
    rolldownOptions: { output: { comments: false } },
  },
  plugins: [
    {
      name: "page",
      enforce: "pre",
      resolveId(name) {
        return name === "../src/static.js" ? { id: "/static/smart-image.js", external: "absolute" } : null;
      },
      generateBundle() {
        for (const fileName of ["index.html", "playground.css"]) {
          this.emitFile({
            type: "asset",
            fileName,
            source: readFileSync(`${import.meta.dirname}/${SOURCES}/${fileName}`),
          });
        }
      },
    },
  ],
});
