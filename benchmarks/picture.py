"""Bar charts as a self-contained SVG file, legible on light and dark pages."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

LABEL, BARS, VALUE = 190, 460, 80
"""Widths of the three columns."""
ROW, TITLE, GAP = 24, 30, 18
"""Heights of a bar, of the title of a chart, and of the space below one."""
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600 }
    .bar { fill: #8c959f }
    .own { fill: #1a7f37 }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .own { fill: #3fb950 } }
"""


@dataclass(frozen=True)
class Bar:
    """A figure; `own` marks the one that the others are compared with."""

    name: str
    value: float
    own: bool = False


@dataclass(frozen=True)
class Chart:
    """A group of bars on a logarithmic scale of its own."""

    title: str
    bars: Sequence[Bar]


def draw(charts: Sequence[Chart]) -> str:
    """Return the charts, stacked vertically, as SVG."""
    width = LABEL + BARS + VALUE
    height = sum(TITLE + ROW * len(chart.bars) + GAP for chart in charts)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}">',
        f"  <style>{STYLE}  </style>",
    ]
    top = 0
    for chart in charts:
        lines += _chart(chart, top)
        top += TITLE + ROW * len(chart.bars) + GAP
    return "\n".join([*lines, "</svg>", ""])


def _chart(chart: Chart, top: int) -> Iterator[str]:
    title = escape(f"{chart.title} (median, logarithmic)")
    yield f'  <text class="title" x="4" y="{top + 20}">{title}</text>'
    values = [bar.value for bar in chart.bars]
    for number, bar in enumerate(chart.bars):
        y = top + TITLE + number * ROW
        length = _length(bar.value, values)
        kind = "bar own" if bar.own else "bar"
        yield f'  <text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(bar.name)}</text>'
        yield f'  <rect class="{kind}" x="{LABEL}" y="{y + 2}" width="{length}" height="17" rx="2"/>'
        yield f'  <text x="{LABEL + length + 6}" y="{y + 15}">{bar.value:.3g}</text>'


def _length(value: float, values: Sequence[float]) -> int:
    """Return the length of a bar, on a scale from the power of ten below the minimum to the maximum."""
    low, high = math.floor(math.log10(min(values))) - 0.2, math.log10(max(values))
    return round(BARS * (math.log10(value) - low) / (high - low))
