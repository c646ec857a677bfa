const OVERLAYS = `
:host{display:inline-grid;isolation:isolate;max-inline-size:100%;overflow:hidden;border-radius:var(--smart-image-radius,0);
--_bg:light-dark(#eef1f4,#22262b);--_fg:light-dark(#2b3137,#e6e9ec);--_ac:var(--smart-image-accent,light-dark(#1864ab,#74c0fc));color:var(--_fg)}
:host([hidden]),[hidden]{display:none!important}
.layer,slot:not([name])::slotted(*){grid-area:1/1;min-inline-size:0;min-block-size:0}
[part=placeholder]{contain:layout;background:var(--_c,var(--smart-image-background,var(--_bg)))}
[part=placeholder] img{inline-size:100%;block-size:100%;object-fit:var(--smart-image-fit,cover);object-position:var(--smart-image-position,50%)}
[part=overlay]{z-index:2;display:grid;place-content:center;justify-items:center;gap:.5em;padding:.5em;text-align:center;overflow:hidden;overflow-wrap:anywhere;
font:.875rem/1.4 system-ui,sans-serif;background:var(--smart-image-overlay,var(--_bg))}
[part=overlay].light{background:none}
[part=spinner]{inline-size:1.5em;block-size:1.5em;background:var(--_bg);border:.2em solid #8888;border-block-start-color:var(--_ac);
border-radius:50%;opacity:0;animation:turn 1s linear infinite,show 0s .3s forwards}
button{font:inherit;color:light-dark(#fff,#10151a);background:var(--_ac);border:0;border-radius:.3em;padding:.4em 1em;min-block-size:2.4em;cursor:pointer}
button:focus-visible{outline:.2em solid var(--_fg);outline-offset:.1em}
@keyframes turn{to{rotate:1turn}}
@keyframes show{to{opacity:1}}
@media(prefers-reduced-motion:reduce){[part=spinner]{animation:show 0s .3s forwards}}
`;

// :where() has no specificity: any rule of the page wins.
const PICTURE = `
:where(smart-image)>:where(picture){display:contents}
:where(smart-image) :where(img){display:block;grid-area:1/1;z-index:1;min-width:0;min-height:0;width:100%;height:100%;
object-fit:var(--smart-image-fit,cover);object-position:var(--smart-image-position,50%);transition:var(--smart-image-transition,none)}
`;

let overlays: CSSStyleSheet | undefined;
let picture: CSSStyleSheet | undefined;

/** The style sheet shared by all shadow trees. Constructed sheets are allowed under `style-src 'none'`. */
export function overlayStyles(): CSSStyleSheet {
  overlays ??= sheet(OVERLAYS);
  return overlays;
}

/** Style the images in `root`: the document, or the shadow tree that contains the element. */
export function stylePictures(root: Node): void {
  if (!(root instanceof Document || root instanceof ShadowRoot)) return;
  picture ??= sheet(PICTURE);
  if (!root.adoptedStyleSheets.includes(picture)) root.adoptedStyleSheets.push(picture);
}

/** Make a style sheet. */
export function sheet(text: string): CSSStyleSheet {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}
