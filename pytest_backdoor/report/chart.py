"""A line chart as inline SVG: a thin line for each row of numbers, bold ones over them. The page has its style."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_backdoor.report import words

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 348, 30, 190  # of the part with the lines
TICKS = 4  # spaces between ticks of an axis, roughly


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Values at x = 0, 1, 2 ...; those that are not finite are left out."""

    values: np.ndarray
    style: str  # a class of the page's style
    label: str


def chart(title: str, across: str, lines: Sequence[Line]) -> str:
    """The chart of these lines, the later over the earlier; across names what x counts."""
    shown = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    low, high = span(shown)
    last = max(len(line.values) for line in lines) - 1
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">',
        f'<text class="title" x="{LEFT}" y="18">{text(title)}</text>',
        *(_level(tick, _scaled(tick, low, high, BOTTOM, TOP)) for tick in ticks(low, high)),
        *(_mark(tick, _scaled(tick, 0, last, LEFT, RIGHT)) for tick in ticks(0, last) if tick == round(tick)),
        f'<text class="across" x="{(LEFT + RIGHT) / 2:g}" y="{HEIGHT - 6}">{text(across)}</text>',
        *(_drawn(line, low, high, last) for line in lines),
        "</svg>",
    ]
    return "\n".join(parts)


def text(shown: str) -> str:
    """The text as it may stand in HTML and in attributes, with invisible characters written out."""
    return html.escape(words.visible(shown))


def span(values: np.ndarray) -> tuple[float, float]:
    """The range of an axis: that of the values, opened a little where they are all the same."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.0 if high > low else max(abs(high), 1.0) / 10
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about five: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / rough)))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _level(tick: float, y: float) -> str:
    """A line across the chart with its number on the left."""
    line = f'<line class="level" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
    return f'{line}<text class="value" x="{LEFT - 6}" y="{y + 4:.1f}">{tick:.4g}</text>'


def _mark(tick: float, x: float) -> str:
    return f'<text class="count" x="{x:.1f}" y="{BOTTOM + 17}">{tick:.0f}</text>'


def _drawn(line: Line, low: float, high: float, last: int) -> str:
    places = np.flatnonzero(np.isfinite(line.values)).tolist()
    points = " ".join(
        f"{_scaled(x, 0, last, LEFT, RIGHT):.1f},{_scaled(line.values[x], low, high, BOTTOM, TOP):.1f}" for x in places
    )
    return f'<polyline class="{line.style}" points="{points}"><title>{text(line.label)}</title></polyline>'
