import type { NextConfig } from "next";

export default { images: { loader: "custom", loaderFile: "./loader.ts" } } satisfies NextConfig;
