import "@image-gateway/web/define";
import "@image-gateway/web/smart-image.css";
import { configureSmartImage } from "@image-gateway/web";
import { mount } from "svelte";
import App from "./App.svelte";

configureSmartImage({ baseUrl: "http://127.0.0.1:8080" });
mount(App, { target: document.body });
