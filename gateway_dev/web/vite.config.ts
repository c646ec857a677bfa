const COMPONENT = "../../gateway/web/src/static.js";

/**
 * Makes the script of the playground of `image-gateway dev`. It uses the component as any page does: by the file that the gateway
 * serves. Vite and the types are installed for the component, so nothing of them is imported here.
 */
export default {
  root: import.meta.dirname,
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    minify: false,
    lib: { entry: "playground.ts", formats: ["es"], fileName: () => "playground.js" },
    rolldownOptions: { output: { comments: false } },
  },
  plugins: [
    {
      name: "page",
      enforce: "pre",
      resolveId: (name: string) => (name === COMPONENT ? { id: "/static/smart-image.js", external: "absolute" } : null),
    },
  ],
};
