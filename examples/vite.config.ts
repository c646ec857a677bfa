import { existsSync, readdirSync } from "node:fs";
import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

const folders = readdirSync(".").filter((name) => !existsSync(`${name}/package.json`));
const pages = folders.map((name) => `${name}/index.html`);

/** Each folder with an index.html is a page; those with a package.json are applications of their own. */
export default defineConfig({
  plugins: [vue(), react()],
  build: { rolldownOptions: { input: pages.filter((page) => existsSync(page)) } },
});
