// About one screen ahead.
const MARGIN = "1000px";

const waiting = new Map<Element, () => void>();
let observer: IntersectionObserver | undefined;

/** Call `seen` when the element comes near the viewport, or the page is printed, until the returned function was called. */
export function whenNear(element: Element, seen: () => void): () => void {
  if (!observer) {
    observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) if (isIntersecting) waiting.get(target)?.();
      },
      { rootMargin: MARGIN },
    );
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
  observer.observe(element);
  return cancel;
}
