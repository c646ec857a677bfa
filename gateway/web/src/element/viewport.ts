// About one screen ahead.
const MARGIN = "1000px";

const waiting = new WeakMap<Element, (distance: number) => void>();
let observer: IntersectionObserver | undefined;

/** Call `seen` once with the distance in px when the element comes near the viewport. Returns the function that cancels. */
export function whenNear(element: Element, seen: (distance: number) => void): () => void {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting, boundingClientRect: box } of entries) {
        if (!isIntersecting) continue;
        observer?.unobserve(target);
        waiting.get(target)?.(Math.max(0, box.top - innerHeight, -box.bottom));
        waiting.delete(target);
      }
    },
    { rootMargin: MARGIN },
  );
  waiting.set(element, seen);
  observer.observe(element);
  return () => {
    waiting.delete(element);
    observer?.unobserve(element);
  };
}
