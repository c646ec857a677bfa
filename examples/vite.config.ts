import { existsSync, readdirSync } from "node:fs";
import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

const pages = readdirSync(".").map((name) => `${name}/index.html`);

/** Each folder with an index.html is a page. */
export default defineConfig({
  plugins: [vue(), react()],
  build: { rolldownOptions: { input: pages.filter((page) => existsSync(page)) } },
});
