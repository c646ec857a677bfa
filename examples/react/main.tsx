import "@image-gateway/web/smart-image.css";
import { configureSmartImage, type LoadState, SmartImage, type SmartImageElement } from "@image-gateway/web/react";
import { useRef, useState } from "react";
import { createRoot } from "react-dom/client";

configureSmartImage({ baseUrl: "http://127.0.0.1:8080" });

const IDS = ["sunrise", "poster-large", "no-such-image"];

function App() {
  const [count, setCount] = useState(0);
  const [state, setState] = useState<LoadState>("idle");
  const image = useRef<SmartImageElement>(null);
  const id = IDS[count % IDS.length];
  return (
    <main>
      <SmartImage
        ref={image}
        imageId={id}
        styleName="card"
        alt="Sunrise over hills"
        width={320}
        height={213}
        onStateChange={({ detail }) => setState(detail.to)}
      >
        {state === "failed" && <p slot="error">There is no {id}.</p>}
      </SmartImage>
      <p>
        The image is <output>{state}</output>.
      </p>
      <button type="button" id="next" onClick={() => setCount(count + 1)}>
        Another image
      </button>
      <button type="button" id="reload" onClick={() => image.current?.reload({ fresh: true })}>
        Load it again
      </button>
    </main>
  );
}

const root = document.querySelector("#root");
if (root) createRoot(root).render(<App />);
