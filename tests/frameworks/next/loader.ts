import { createLoader } from "@image-gateway/web/next-loader";
import type { ImageLoader } from "next/image";

export default createLoader({ baseUrl: "http://127.0.0.1:8080", styleName: "card" }) satisfies ImageLoader;
