import "@image-gateway/web/define";
import { configureSmartImage, SmartImage } from "@image-gateway/web/react";
import { type SmartImageSlotProps, SmartImage as VueImage } from "@image-gateway/web/vue";
import { StrictMode, useState } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { createSSRApp, h } from "vue";
import { renderToString as renderVue } from "vue/server-renderer";

configureSmartImage({ baseUrl: "http://127.0.0.1:8080" });

function App() {
  const [step, setStep] = useState(0);
  return (
    <StrictMode>
      <SmartImage
        imageId={step > 0 ? "poster-large" : "sunrise"}
        styleName="card"
        widths={[80, 160]}
        formats="webp original"
        alt='A "quoted" <text> & more'
        width={80}
        height={60}
        useProxy={step < 3}
        className="shown"
      >
        {step < 2 && <img slot="error" alt="" />}
      </SmartImage>
      <button type="button" onClick={() => setStep(step + 1)}>
        Next
      </button>
      <output>{step}</output>
    </StrictMode>
  );
}

const problems: string[] = [];
const root = document.querySelector("#root") as HTMLElement;
root.innerHTML = renderToString(<App />);
const markup = root.innerHTML;
const report = (error: unknown) => problems.push(String(error));

/** Hydrate the page: the element may have changed its content before. */
function hydrate() {
  hydrateRoot(root, <App />, { onRecoverableError: report, onUncaughtError: report });
}

const vueRoot = document.querySelector("#vue") as HTMLElement;
const slots = { error: ({ error }: SmartImageSlotProps) => error?.kind };
const vueApp = (props: object) => createSSRApp(() => h(VueImage, props, slots));

/** Show what a server renders with Vue. */
async function renderVueImage(props: object) {
  const { any } = AbortSignal;
  delete (AbortSignal as { any?: unknown }).any; // the component takes the browser for a server
  const rendered = renderVue(vueApp(props));
  Object.assign(AbortSignal, { any });
  vueRoot.innerHTML = await rendered;
}

function hydrateVueImage(props: object) {
  vueApp(props).mount(vueRoot);
}

Object.assign(window, { hydrate, markup, problems, renderVueImage, hydrateVueImage });
