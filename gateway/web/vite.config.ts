import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { minify as terser } from "terser";
import { defineConfig, minify } from "vite";

const ENTRIES = [
  "index",
  "define",
  "addresses",
  "retry",
  "monitor",
  "vue",
  "react",
  "svelte",
  "nuxt",
  "nuxt-module",
  "nuxt-plugin",
  "hints",
  "no-hints",
  "next-loader",
  "unpic",
  "variants",
];

// Properties that modules of the element share and nobody else sees: they get short names in the served file. None of
// them may be a name of the browser's API, of the configuration, of an event's detail or of a report.
export const INTERNAL = `
  succeeded closed enter wake gate base probe diagnose viaUrl variant candidates isSizeless
  maxDelay until described withdraw changed tell show img select subject reserve redraw isLazy become start stop
  isRefetched ends
  failedAt isGiven isDeferred token fallback box fragment rest isAuthorized isRenewed isRefused hasGivenUp outageBegan doubt dead rests
`
  .trim()
  .split(/\s+/);

/** `vite build` makes what npm installs; `vite build --mode static` makes what the gateway serves. */
export default defineConfig(({ mode }) =>
  mode === "static"
    ? {
        resolve: { alias: { "#hints": fileURLToPath(new URL("src/no-hints.ts", import.meta.url)) } },
        build: {
          outDir: "static",
          minify: false, // by the plugin below
          target: "es2022",
          modulePreload: false,
          lib: { entry: "src/static.ts", formats: ["es"] },
          rolldownOptions: {
            output: {
              entryFileNames: "smart-image.[hash].js",
              chunkFileNames: "smart-image-[name].[hash].js",
              minify: false,
              comments: false,
            },
          },
        },
        plugins: [
          {
            name: "styles-in-one-line",
            transform: (code, id) =>
              id.endsWith("styles.ts") ? code.replaceAll(/(?<=[,;{}`])\n(?=[^\n]*[,;{}`])/g, "") : null,
          },
          {
            name: "minify",
            // Rolldown shortens properties only if there is one chunk: the names that the chunks share are not in INTERNAL.
            async renderChunk(code, { fileName }) {
              const mangleProps = { include: new RegExp(`^(${INTERNAL.join("|")})$`) };
              // In a browser, globals need no prefix, and are there.
              const plain = code
                .replaceAll(/(?<=globalThis\.HTMLElement) \?\? class \{\}|globalThis\.customElements && /g, "")
                .replaceAll(/\(\) => import\((".*?")\)/g, "(again) => import($1 + again)")
                .replaceAll(/(?<=globalThis\.\w+)(?:\?(?=\.\w)|\?\.(?=\())|globalThis\./g, "");
              const made = await minify(fileName, plain, {
                module: true,
                compress: true,
                mangle: true,
                mangleProps,
              });
              // Inlines what is used once, which the minifier of Vite does not: a hundred bytes less, gzipped.
              // "unsafe" joins texts by +, which compresses better than templates.
              const compress = {
                passes: 3,
                ecma: 2020,
                unsafe: true,
                unsafe_arrows: true,
                pure_getters: true,
              } as const;
              const inlined = await terser(made.code, { module: true, compress });
              // A run of its own: in the one above it makes the file larger.
              return (
                (await terser(inlined.code ?? "", { module: true, compress: { ...compress, hoist_vars: true } }))
                  .code ?? null
              );
            },
          },
          {
            name: "stable-name",
            generateBundle(_, bundle) {
              // The same file by a name that never changes: pages that do not know the hash need one request, too.
              const entry = Object.values(bundle).find((made) => made.type === "chunk" && made.isEntry);
              const code = entry?.type === "chunk" ? entry.code : "";
              this.emitFile({ type: "asset", fileName: "smart-image.js", source: code });
              const source = readFileSync(new URL("smart-image.css", import.meta.url), "utf8");
              this.emitFile({ type: "asset", fileName: "smart-image.css", source });
            },
          },
        ],
      }
    : {
        build: {
          target: "es2022",
          minify: false,
          sourcemap: true,
          lib: {
            entry: Object.fromEntries(ENTRIES.map((name) => [name, `src/${name}.ts`])),
            formats: ["es"],
          },
          rolldownOptions: {
            external: ["vue", "react", "react-dom", "#app", "#hints", "node:url", /\.svelte$/],
            // One file a module, so that an application gets what it uses, and nothing beside it.
            output: { preserveModules: true, preserveModulesRoot: "src" },
            checks: { moduleLevelDirective: false }, // "use client" stays; a test looks
          },
        },
        plugins: [
          {
            name: "svelte-as-it-is", // the application compiles it
            generateBundle() {
              const fileName = "svelte/SmartImage.svelte";
              const source = readFileSync(new URL(`src/${fileName}`, import.meta.url), "utf8");
              this.emitFile({ type: "asset", fileName, source });
            },
          },
        ],
      },
);
