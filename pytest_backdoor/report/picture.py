"""A saved trigger as a small picture of characters: half blocks in colour, or shades of ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

Array = np.ndarray[Any, np.dtype[Any]]
SHADES = " .:-=+*#%@"
CHANGED = 0.05  # share of the strongest change from which a pixel counts as changed
ROWS = 16  # of text
COLUMNS = 60
COLOURED = "two pixels per character, one above the other; blank pixels stay as they are"
SHADED = "two characters per pixel, from . (dark) to @ (bright); blank pixels stay as they are"


@dataclass(frozen=True, slots=True)
class Picture:
    """The changed region: colours ``(rows, columns, 3)`` 0 to 1, which pixels change, and where it lies."""

    colours: Array
    changed: Array
    place: str


def read(path: Path) -> Picture | None:
    """The changed region of a saved trigger, or None when the file has none that can be drawn."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError):
        return None
    if {"mask", "pattern"} <= arrays.keys():
        return _cropped(arrays["mask"].max(-1), arrays["pattern"])
    if "delta" in arrays:
        strength = np.abs(arrays["delta"])
        return _cropped(strength.max(-1), 0.5 + arrays["delta"] / (2 * max(strength.max(), 1e-9)))
    return None


def coloured(picture: Picture) -> list[Text]:
    """Two pixels per character, above each other."""
    picture = _shrunk(picture, 2 * ROWS)
    if len(picture.colours) % 2:
        picture = _with_empty_row(picture)
    above, below = slice(0, None, 2), slice(1, None, 2)
    rows = zip(
        picture.colours[above], picture.changed[above], picture.colours[below], picture.changed[below], strict=True
    )
    return [Text.assemble(*(_half_blocks(*pixels) for pixels in zip(*row, strict=True))) for row in rows]


def shaded(picture: Picture) -> list[Text]:
    """Two characters per pixel, from dark to bright; blank where nothing changes."""
    picture = _shrunk(picture, ROWS)
    shades = 1 + np.rint(picture.colours.mean(-1) * (len(SHADES) - 2)).astype(int)  # the blank is for unchanged pixels
    shades = np.where(picture.changed, shades, 0)
    return [Text("".join(2 * SHADES[shade] for shade in row)) for row in shades]


def framed(rows: Sequence[Text]) -> list[Text]:
    """The rows in a frame, without which one bright pixel on a bright terminal is no picture."""
    edge = Text("+" + "-" * max(len(row) for row in rows) + "+")
    return [edge, *(Text.assemble("|", row, "|") for row in rows), edge]


def _cropped(strength: Array, colours: Array) -> Picture | None:
    """The bounding box of what changes; ``strength`` is (height, width)."""
    changed = strength > CHANGED * strength.max()
    if not changed.any():
        return None
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = strength.shape
    place = f"{_span('row', rows)}, {_span('column', columns)} of {height} x {width}"
    return Picture(_rgb(colours)[box], changed[box], place)


def _rgb(colours: Array) -> Array:
    """Three channels from any number of them."""
    channels = colours.shape[-1]
    rgb = colours[..., :3] if channels >= 3 else colours[..., :1].repeat(3, axis=-1)
    return np.clip(rgb, 0.0, 1.0)


def _span(word: str, indices: Array) -> str:
    first, last = indices[0], indices[-1]
    return f"{word} {first}" if first == last else f"{word}s {first} to {last}"


def _shrunk(picture: Picture, most_rows: int) -> Picture:
    """Every n-th pixel, so that the picture fits."""
    rows, columns = picture.changed.shape
    step = max(1, -(-rows // most_rows), -(-columns // COLUMNS))
    return Picture(picture.colours[::step, ::step], picture.changed[::step, ::step], picture.place)


def _with_empty_row(picture: Picture) -> Picture:
    colours = np.concatenate([picture.colours, np.zeros_like(picture.colours[:1])])
    changed = np.concatenate([picture.changed, np.zeros_like(picture.changed[:1])])
    return Picture(colours, changed, picture.place)


def _half_blocks(above: Array, above_changed: bool, below: Array, below_changed: bool) -> tuple[str, Style]:
    if above_changed and below_changed:
        return "▀", Style(color=_colour(above), bgcolor=_colour(below))
    if above_changed:
        return "▀", Style(color=_colour(above))
    return ("▄", Style(color=_colour(below))) if below_changed else (" ", Style())


def _colour(rgb: Array) -> Color:
    red, green, blue = (float(value) for value in np.rint(255 * rgb))
    return Color.from_rgb(red, green, blue)
