// div: the placeholder, section: the overlay, i: the spinner. The isolated overlay is above a transparent <img>. Transparent
// edges are visible in forced colours.
const OVERLAYS = `
:host{display:inline-grid;contain:layout;max-width:100%;overflow:hidden;border-radius:var(--smart-image-radius,0);color:light-dark(#333,#eee);
--_bg:light-dark(#eee,#222);--_ac:var(--smart-image-accent,light-dark(#06b,#7cf))}
:host([hidden]),[hidden]{display:none!important}
div,section,slot:not([name])::slotted(*){grid-area:1/1;min-width:0;min-height:0}
div,.cover{outline:1px solid #0000;outline-offset:-1px}
div{background:var(--_fill,var(--smart-image-background,var(--_bg)))}
section{isolation:isolate;display:grid;place-content:center;place-items:center;gap:.5em;overflow:hidden;font:.9rem system-ui;text-align:center;pointer-events:none}
.cover{padding:.5em;background:var(--smart-image-overlay,var(--_bg));pointer-events:auto}
i{padding:.6em;border:.2em solid #8888;border-top-color:var(--_ac);border-radius:50%;opacity:0;animation:turn 1s .3s linear infinite}
@keyframes turn{0%,to{opacity:1}to{rotate:1turn}}
@media(prefers-reduced-motion){i{animation:none;opacity:1}}
`;

// :where() has no specificity: any rule of the page wins.
const PICTURE = `
:where(smart-image>picture){display:contents}
:where(smart-image img:not([src],[srcset])){contain:size;opacity:0}
:where(smart-image img){display:block;grid-area:1/1;min-width:0;min-height:0;width:100%;height:100%;
object-fit:var(--smart-image-fit,cover);object-position:var(--smart-image-position,50%);transition:var(--smart-image-transition,none)}
`;

let overlays: CSSStyleSheet | undefined;
let picture: CSSStyleSheet | undefined;

/** Add the style of failures. */
export function styleFailures(text: string): void {
  overlayStyles().replaceSync(OVERLAYS + text);
}

/** The style sheet shared by all shadow trees. Constructed sheets are allowed under `style-src 'none'`. */
export function overlayStyles(): CSSStyleSheet {
  overlays ??= sheet(OVERLAYS);
  return overlays;
}

/** Style the images in `root`: the document, or the shadow tree that contains the element. */
export function stylePictures(root: Node): void {
  // Missing if the element has left the document already.
  const sheets = (root as Partial<DocumentOrShadowRoot>).adoptedStyleSheets;
  picture ??= sheet(PICTURE);
  if (!sheets?.includes(picture)) sheets?.push(picture);
}

/** Make a style sheet. */
export function sheet(text: string): CSSStyleSheet {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}
