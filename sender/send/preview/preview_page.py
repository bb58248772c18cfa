"""A Preview as one HTML page that asks nothing of any network; every text is escaped, and no script can run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from sender.runtime.version import __version__
from sender.send.preview.preview_text import heading, told, took

if TYPE_CHECKING:
    from sender.send.preview.preview import Preview, Shown

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #16202c; --quiet: #5b6877; --grid: #e1e6ec;
  --good: #157f4c; --bad: #c22f3d; --odd: #b4610a; }
@media (prefers-color-scheme: dark) { :root { --page: #0f151c; --card: #18212b; --ink: #e8edf3; --quiet: #9aa8b7;
  --grid: #2b3744; --good: #4cc38a; --bad: #ff7b86; --odd: #f0a04b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1, h2 { overflow-wrap: anywhere; } h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin: 0; }
article { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: 1rem;
  margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-variant-numeric: tabular-nums; }
dt, .quiet, footer { color: var(--quiet); } dd { margin: 0; font-weight: 650; }
p { margin: .3rem 0; overflow-wrap: anywhere; } .problem { color: var(--bad); } .warning { color: var(--odd); }
pre { margin: .6rem 0 0; overflow-x: auto; font: .85rem/1.5 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""


def preview_page(preview: Preview) -> str:
    """The whole document."""
    title = escape(f"Preview of {preview.title}")
    counts = "".join(f"<dt>{escape(name)}</dt><dd>{number:,}</dd>\n" for name, number in preview.counts)
    if counts:
        counts = f"<dl>\n{counts}<dt>would take</dt><dd>{escape(took(preview))}</dd>\n</dl>\n"
    jobs = "".join(map(_article, (*preview.jobs, *preview.unsent)))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f"{counts}{jobs}<footer>sender {escape(__version__)}: nothing was sent</footer>\n</main>\n</body>\n</html>\n"
    )


def _article(one: Shown) -> str:
    template = f", template {one.template}" if one.template else ""
    request = f'<p class="quiet">{escape(one.request + template)}</p>\n' if one.request else ""
    problems = "".join(f'<p class="problem">{escape(told(problem))}</p>\n' for problem in one.problems)
    warnings = "".join(f'<p class="warning">{escape(told(warning))}</p>\n' for warning in one.warnings)
    body = f"<pre>{escape(one.body)}</pre>\n" if one.body else ""
    return (
        f'<article>\n<h2>{escape(heading(one))}</h2>\n<p class="quiet">{escape(one.place)}</p>\n'
        f"{request}{problems}{warnings}{body}</article>\n"
    )
