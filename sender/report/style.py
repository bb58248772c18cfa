"""How a page looks: one style sheet, light and dark, no letters or pictures from elsewhere."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #16202c; --quiet: #5b6877; --grid: #e1e6ec;
  --first: #2563c9; --second: #b4610a; --third: #7b4fc4; --good: #157f4c; --bad: #c22f3d; }
@media (prefers-color-scheme: dark) { :root { --page: #0f151c; --card: #18212b; --ink: #e8edf3; --quiet: #9aa8b7;
  --grid: #2b3744; --first: #6aa5ff; --second: #f0a04b; --third: #b896f5; --good: #4cc38a; --bad: #ff7b86; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.45;
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: .5rem 0 1rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2rem 0 .1rem; overflow-wrap: anywhere; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
.sub, .note, footer { color: var(--quiet); font-size: .875rem; margin: .1rem 0 .9rem; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: 1rem;
  margin: 0 0 1rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); gap: .6rem; margin: 0 0 1rem; }
.fact { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: .65rem .8rem;
  min-width: 0; }
.fact dt { color: var(--quiet); font-size: .8rem; }
.fact dd { margin: 0; font-size: 1.15rem; font-weight: 650; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } .second { color: var(--second); }
  .first { color: var(--first); }
.third { color: var(--third); }
.parts { display: flex; height: 1.4rem; border-radius: 7px; overflow: hidden; gap: 2px; background: var(--grid); }
.parts span { min-width: 3px; background: currentColor; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; margin: .6rem 0 0; padding: 0;
  font-size: .875rem; }
.legend li::before { content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 3px;
  margin-right: .45em;
  background: var(--dot); }
.legend li.limit::before { height: 0; width: 1.2em; border-radius: 0; border-top: 2px dashed var(--dot);
  background: none;
  vertical-align: middle; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; fill: var(--quiet) !important; }
.narrow { display: none; }
@media (max-width: 600px) { .wide { display: none; } .narrow { display: block; }
  main { padding: .75rem .75rem 2rem; } }
.scroll { overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--first); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 650; font-size: 1rem; padding: 0 0 .5rem; }
details caption { font-weight: 400; font-size: .875rem; color: var(--quiet); }
th, td { text-align: right; padding: .35rem .6rem; border-top: 1px solid var(--grid); vertical-align: top; }
th:first-child, td:first-child, .word { text-align: left; }
thead th { color: var(--quiet); font-weight: 500; border-top: 0; white-space: nowrap; }
tbody th { font-weight: 500; min-width: 6.5rem; max-width: 18rem; overflow-wrap: break-word; }
td { white-space: nowrap; }
td.word { white-space: normal; min-width: 5.5rem; max-width: 26rem; overflow-wrap: break-word; }
details { margin-top: .7rem; } summary { cursor: pointer; color: var(--quiet); font-size: .875rem; }
.warn { border-left: 4px solid var(--bad); }
td.word:last-child:not(:nth-child(2)) { min-width: 12rem; }
@media print { .card, .fact { break-inside: avoid; } details { display: none; } }
"""
