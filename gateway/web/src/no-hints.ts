/** What production has in place of `hints.ts`. */
export function watchForHints(): void {}
