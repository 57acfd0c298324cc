import { createHash } from 'node:crypto'

/**
 * The style sheet of every page. Colors have WCAG AA contrast on every surface, in light and dark, and nothing is wider
 * than a screen of 320 px.
 */
const SOURCE = `
:root {
  color-scheme: light dark;
  --back: #eef1f5;
  --card: #fff;
  --edge: #d9dfe7;
  --text: #18212d;
  --soft: #535f70;
  --inset: #f4f6f9;
  --accent: #1d5bb8;
  --tint: #e3edfb;
  --accent-hover: #174a97;
  --on-accent: #fff;
  --control: #76849a;
  --warn-back: #fff5dc;
  --warn-edge: #b87a14;
  --warn-text: #553700;
}

@media (prefers-color-scheme: dark) {
  :root {
    --back: #0e131a;
    --card: #181f29;
    --edge: #2b3543;
    --text: #e7ecf3;
    --soft: #a5b1c2;
    --inset: #10161f;
    --accent: #84b3ff;
    --tint: #23344f;
    --accent-hover: #a6c8ff;
    --on-accent: #0a1a33;
    --control: #7c8aa0;
    --warn-back: #33270d;
    --warn-edge: #d39a36;
    --warn-text: #ffdf9e;
  }
}

* { box-sizing: border-box; }
body {
  margin: 0;
  padding: clamp(1rem, 4vh, 5rem) 1rem;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--text);
  background: var(--back);
  overflow-wrap: anywhere;
  -webkit-text-size-adjust: 100%;
}

main::before {
  content: "";
  display: block;
  width: 2.75rem;
  height: 2.75rem;
  margin: 0 0 1rem;
  border-radius: .75rem;
  background:
    linear-gradient(var(--accent) 0 0) center 1.25rem/1.125rem .8125rem no-repeat,
    radial-gradient(circle at 50% 1.1875rem, #0000 .3125rem, var(--accent) .3375rem .4625rem, #0000 .4875rem)
    var(--tint);
}

main {
  max-width: 34rem;
  margin: 0 auto;
  padding: 2rem 2.25rem;
  overflow: hidden;
  background: var(--card);
  border: 1px solid var(--edge);
  border-radius: 1rem;
  box-shadow: 0 1px 2px #0000000f, 0 12px 32px -12px #0000002e;
}

h1 {
  margin: 0 0 .75rem;
  font-size: 1.5rem;
  line-height: 1.3;
  font-weight: 600;
  letter-spacing: -.01em;
  text-wrap: balance;
}

h1 span { font-weight: 400; white-space: nowrap; }
h2 {
  margin: 0 0 .5rem;
  font-size: .875rem;
  line-height: 1.4;
  font-weight: 600;
  color: var(--soft);
}

h3 { margin: 1rem 0 .25rem; font-size: 1rem; font-weight: 600; }
img { display: block; object-fit: contain; }
main:has(img)::before { display: none; }
a:not(.button) { color: var(--accent); }
.address code { user-select: all; }
p, ul { margin: 0 0 .875rem; text-wrap: pretty; }
section { margin: 1.125rem 0; }
section p { margin: 0 0 .5rem; }
main > :last-child, section > :last-child { margin-bottom: 0; }
ul { padding: 0; list-style: none; }
li {
  position: relative;
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  justify-content: space-between;
  gap: 0 .75rem;
  padding-left: 1.5rem;
}

li > bdi { flex: 1 1 12rem; }
li + li { margin-top: .375rem; }
li::before {
  content: "";
  position: absolute;
  left: .25rem;
  top: .5em;
  width: .5rem;
  height: .5rem;
  border-radius: 50%;
  background: var(--accent);
}

code { font: .9375em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
small { font-size: .875rem; }
small, .soft { color: var(--soft); }
.address {
  margin: 0 0 .5rem;
  padding: .75rem 1rem;
  background: var(--inset);
  border: 1px solid var(--edge);
  border-radius: .625rem;
}

.address code { word-break: break-all; }
.address strong { font-size: 1.125rem; font-weight: 600; }

.warning {
  margin: 1rem 0;
  padding: .875rem 1rem;
  color: var(--warn-text);
  background: var(--warn-back);
  border-left: .25rem solid var(--warn-edge);
  border-radius: .5rem;
}

.notice {
  padding: .875rem 1rem;
  background: var(--tint);
  border-left: .25rem solid var(--accent);
  border-radius: .5rem;
}

.entry {
  padding: 1rem 1.25rem;
  background: var(--inset);
  border: 1px solid var(--edge);
  border-radius: .75rem;
}

.entry h2 { margin: 0 0 .25rem; font-size: 1.125rem; color: var(--text); }
.entry .button { min-height: 2.75rem; }

.actions {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: .75rem;
  margin: 1.25rem 0 0;
}

.button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  min-height: 3rem;
  padding: .5rem 1.25rem;
  font: inherit;
  font-weight: 600;
  text-align: center;
  text-decoration: none;
  color: var(--text);
  background: var(--card);
  border: 1px solid var(--control);
  border-radius: .625rem;
  cursor: pointer;
}

.actions form { display: grid; }
form + p, .actions + p { margin-top: 1rem; }
.button:hover { background: var(--inset); }
.primary {
  color: var(--on-accent);
  background: var(--accent);
  border-color: var(--accent);
}

.primary:hover { background: var(--accent-hover); border-color: var(--accent-hover); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
@media (max-width: 36rem) {
  body { padding: 0; background: var(--card); }
  main {
    padding: 1.25rem 1.25rem 1.5rem;
    border: 0;
    border-radius: 0;
    box-shadow: none;
  }
  main::before { margin-bottom: .75rem; }
  h1 { font-size: 1.375rem; margin-bottom: .5rem; }
}
`

export const STYLE_SHEET = SOURCE.replace(/\n */g, ' ').trim()

/** The source for `style-src` in a page's Content-Security-Policy: allows this style sheet and nothing else. */
export const STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE_SHEET).digest('base64')}'`
