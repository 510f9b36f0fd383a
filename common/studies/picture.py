"""One figure, drawn without a display: SVG that takes its colours from the page, and PNG for elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from common.studies.statistics import Spread
from common.studies.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#24292f", "#d0d7de"
"""Colours of text and grid in PNG files; in SVG they become the page's."""

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "study",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure as an SVG element for a page and as a PNG file's bytes."""

    name: str
    alt: str
    svg: str
    png: bytes


def picture(name: str, alt: str, draw: Callable[[Figure], None], inches: tuple[float, float]) -> Picture:
    """Return what `draw` puts on an empty figure of a size in inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Picture(name, alt, _inline(svg.getvalue(), name, alt), png.getvalue())


_REPLACED: Mapping[str, str] = {
    r"<metadata>.*?</metadata>": "",
    r"<!--.*?-->\s*": "",
    r'\s(xmlns(:\w+)?|version)="[^"]*"': "",
    r"xlink:href": "href",
    INK: "currentColor",
    FAINT: "var(--line)",
    r"font: ([^;\"]*?\d(?:\.\d+)?px) [^;\"]*": r"font: \1 var(--font)",
}


def _inline(svg: str, name: str, alt: str) -> str:
    """Make a file's SVG fit for a page: no addresses, names of its own, and the page's colours and type."""
    body = svg[svg.index("<svg") :]
    for pattern, text in _REPLACED.items():
        body = re.sub(pattern, text, body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(
        r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1), count=1
    )
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def band(axes: Axes, x: Sequence[float], spreads: Sequence[Spread], colour: str, alpha: float = 0.13) -> None:
    """Shade one sample standard deviation around means; a single seed has none."""
    low = [spread.mean - (spread.deviation or 0.0) for spread in spreads]
    high = [spread.mean + (spread.deviation or 0.0) for spread in spreads]
    axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)


def levels_axis(axes: Axes, densities: Sequence[float], most: int = 9) -> None:
    """Make the x axis logarithmic, from everything kept at the left to little at the right, with a tick at the levels."""
    axes.set_xscale("log")
    step = max(1, -(-len(densities) // most))
    ticks = list(densities)[::-1][::step]
    axes.set_xticks(ticks, [percent(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(no_ticks())
    axes.set_xlabel("weights kept")
    axes.grid(axis="y")
    axes.invert_xaxis()


def no_ticks() -> Any:
    """Return a locator without ticks."""
    from matplotlib.ticker import NullLocator

    return NullLocator()
