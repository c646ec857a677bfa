// About one screen ahead.
const MARGIN = "1000px";
// ms by which a picture with priority is ahead of lazy ones on the screen, if the page is not loaded earlier.
const AHEAD = 1000;

const waiting = new Map<Element, () => void>();
let observer: IntersectionObserver | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

function watch(rootMargin: string): void {
  observer?.disconnect();
  observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) if (isIntersecting) waiting.get(target)?.();
    },
    { rootMargin },
  );
  for (const element of waiting.keys()) observer.observe(element);
}

/** Call `seen` when the element comes near the viewport, or the page is printed, until the returned function was called. */
export function whenNear(element: Element, seen: () => void): () => void {
  if (!timer) {
    // What is seen first does not share the network with what may be seen later.
    const isLoaded = document.readyState === "complete";
    const hasPriority = !isLoaded && document.querySelector("smart-image[priority]");
    timer = setTimeout(() => observer || watch(isLoaded ? MARGIN : "0px"), hasPriority ? AHEAD : 0);
    addEventListener("load", () => watch(MARGIN));
    // Browsers print the sources that are set by the end of this event.
    addEventListener("beforeprint", () => {
      for (const show of waiting.values()) show();
    });
  }
  const cancel = () => {
    observer?.unobserve(element);
    waiting.delete(element);
  };
  waiting.set(element, seen);
  observer?.observe(element);
  return cancel;
}
