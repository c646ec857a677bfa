/**
 * The look of what failed. In a small box signs replace the texts, which stay for assistive technology. A box without a size
 * stays as large as its spinner was.
 */
export const FAILURE_STYLES = `
.own{container-type:size;contain-intrinsic-size:1.2em;padding:0;border:.2em solid #0000}
span{padding:0 .5em}
button{font:inherit;color:light-dark(#fff,#111);background:var(--_ac);border:1px solid #0000;border-radius:.3em;padding:.5em 1em}
@container(width<8em)or (height<6em){span,button{font-size:0;padding:0}
span:before{content:"⚠"/"";font-size:1rem}
slot[name=loading]:not([hidden])~slot span:before{content:none}
button{position:absolute;inset:0;padding:0;border-radius:0;background:var(--_bg);color:inherit}
button:before{content:"↻"/"";font-size:1rem}}
`;
