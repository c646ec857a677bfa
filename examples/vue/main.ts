import "@image-gateway/web/smart-image.css";
import { createSmartImage } from "@image-gateway/web/vue";
import { createApp } from "vue";
import App from "./App.vue";

createApp(App)
  .use(createSmartImage({ baseUrl: "http://127.0.0.1:8080" }))
  .mount("#app");
