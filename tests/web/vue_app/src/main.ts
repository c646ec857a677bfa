import { createSmartImage } from "@image-gateway/web/vue";
import { createApp } from "vue";
import App from "./App.vue";

const gateway = new URLSearchParams(location.search).get("gateway") ?? "";
createApp(App)
  .use(createSmartImage({ baseUrl: gateway }))
  .mount("#app");
