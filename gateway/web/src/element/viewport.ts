// About one screen ahead.
const MARGIN = "1000px";

const waiting = new WeakMap<Element, () => void>();
let observer: IntersectionObserver | undefined;

/** Return how far a box is from the viewport, in px. */
export function distanceOf({ top, bottom }: DOMRectReadOnly): number {
  return Math.max(0, top - innerHeight, -bottom);
}

/** Call `seen` once when the element comes near the viewport. Returns the function that cancels. */
export function whenNear(element: Element, seen: () => void): () => void {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer?.unobserve(target);
        waiting.get(target)?.();
      }
    },
    { rootMargin: MARGIN },
  );
  waiting.set(element, seen);
  observer.observe(element);
  return () => observer?.unobserve(element);
}
