import { defineConfig } from "vite";

const ENTRIES = ["index", "define", "vue", "nuxt", "next-loader", "unpic"];

/** `vite build` makes what npm installs; `vite build --mode static` makes what the gateway serves. */
export default defineConfig(({ mode }) =>
  mode === "static"
    ? {
        build: {
          outDir: "static",
          target: "es2022",
          modulePreload: false,
          lib: { entry: "src/static.ts", formats: ["es"] },
          rolldownOptions: {
            output: {
              entryFileNames: "smart-image.[hash].js",
              chunkFileNames: "smart-image-[name].[hash].js",
              minify: true,
              comments: false,
            },
          },
        },
        plugins: [
          {
            name: "stable-name",
            generateBundle(_, bundle) {
              const file = Object.values(bundle).find((made) => made.type === "chunk" && made.isEntry)?.fileName;
              // One module whatever its name: a page that names both has one configuration.
              this.emitFile({ type: "asset", fileName: "smart-image.js", source: `export * from "./${file}";\n` });
            },
          },
        ],
      }
    : {
        build: {
          target: "es2022",
          minify: false,
          lib: {
            entry: Object.fromEntries(ENTRIES.map((name) => [name, `src/${name}.ts`])),
            formats: ["es"],
          },
          rolldownOptions: { external: ["vue"], output: { chunkFileNames: "shared-[name].js" } },
        },
      },
);
