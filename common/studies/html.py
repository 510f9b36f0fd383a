"""Just enough HTML: escaped text, elements, tables, and the one style sheet of the reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from common.studies.picture import Picture

STYLE = """
:root { color-scheme: light dark; --font: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  --ink: #24292f; --soft: #57606a; --page: #ffffff; --card: #f6f8fa;
  --line: #d0d7de; --good: #1a7f37; --bad: #b3261e;
  --accent: #2468b4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e6ea; --soft: #9aa4ae; --page: #14181d; --card: #1c2229; --line: #3a424b;
  --good: #57c26d; --bad: #f0877f; --accent: #6fb0f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--font); }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p, li, dd { max-width: 46rem; }
.question { font-size: 1.15rem; color: var(--soft); margin: 0 0 1rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.answer { background: var(--card); border-left: 4px solid var(--accent); padding: .8rem 1.2rem; margin: 1rem 0;
  border-radius: 0 6px 6px 0; }
.answer h3 { margin: .2rem 0 .3rem; }
.answer h4 { margin: .7rem 0 .2rem; font-size: .95rem; color: var(--soft); }
.answer ul { margin: .2rem 0 .4rem; padding-left: 1.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; } dt { font-weight: 600; } dd { margin: 0; }
figure { margin: 1.2rem 0; } figure svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); border-bottom-width: 2px; white-space: nowrap; }
td:last-child { white-space: nowrap; } td:has(code) { white-space: normal; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.told { font-weight: 600; }
.alarm { color: var(--bad); font-weight: 600; }
td.good { color: var(--good); font-weight: 600; } td.bad { color: var(--bad); font-weight: 600; }
code { font: .82rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: .6rem 0; }
@media print { @page { margin: 15mm; } main { max-width: none; padding: 0; } body { font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  figure, tr, .answer { break-inside: avoid; }
  .scroll { overflow: visible; } code { font-size: 7pt; }
  details::details-content { content-visibility: visible; display: block; height: auto; } summary { display: none; } }
"""


class Markup(str):
    """Text that is HTML already and is not escaped again."""


def text(value: object) -> Markup:
    """Escape a value, unless it is markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def tag(name: str, *content: object, **attributes: str) -> Markup:
    """Return an element; `class_` writes class."""
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{''.join(text(part) for part in content)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Return parts one after another, each on a line."""
    return Markup("\n".join(text(part) for part in parts))


def listing(items: Iterable[object]) -> Markup:
    """Return a bulleted list."""
    return tag("ul", *(tag("li", item) for item in items))


def terms(pairs: Iterable[tuple[object, object]]) -> Markup:
    """Return a list of terms and what they mean."""
    return tag("dl", *(part for term, meaning in pairs for part in (tag("dt", term), tag("dd", meaning))))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> Markup:
    """Return a table that scrolls by itself where it is too wide.

    Args:
        headings: of the columns.
        rows: cells; one that is an element <td> already is taken as it is.
        numbers: columns that are aligned at the right.
    """
    marks = [{"class_": "n"} if column in numbers else {} for column in range(len(headings))]
    head = tag("tr", *(tag("th", heading, **mark) for heading, mark in zip(headings, marks)))
    body = [tag("tr", *(_cell(cell, mark) for cell, mark in zip(row, marks, strict=True))) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def figure(picture: Picture | None, caption: str) -> Markup:
    """Return a figure with its caption, or nothing where there is no picture."""
    return Markup("") if picture is None else tag("figure", Markup(picture.svg), tag("figcaption", caption))


def _cell(cell: object, mark: dict[str, str]) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell, **mark)


def document(title: str, body: Markup) -> str:
    """Return a whole page that refers to nothing outside itself."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'
