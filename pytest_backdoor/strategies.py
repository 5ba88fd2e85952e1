"""Hypothesis strategies for property tests of a model: patches, triggers of other families, and the user's own seeds.

Each shrinks to the smallest trigger that still fails: the fewest pixels or entries first, then the top left and zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt, sqrt
from numbers import Integral, Real
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pytest_backdoor.errors import OptionError
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.low_frequency import WAVES
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.triggers.warp import GRID

Shape = tuple[int, int, int]  # height, width, channels
Pixels = Mapping[tuple[int, int], Sequence[float]]  # (row, column) -> a value of each channel
Entries = Mapping[tuple[Any, ...], float]  # (name of the array, *place) -> what is added there
FAMILY_NAMES = ("patch", "additive", "low-frequency", "tone", "warp")  # a generator has no small form to shrink to
MOST = 8  # entries of a trigger that is no patch
LONGEST = 500  # pixels that a patch may be made to have; Hypothesis draws no list of more than some thousand


@dataclass(frozen=True, slots=True)
class SeedImage:
    """One of the seeds: its number, its label or None, and its image ``(height, width, channels)``, 0 to 1."""

    number: int
    label: int | None
    image: np.ndarray = field(repr=False, compare=False)


def patches(shape: Shape, max_pixels: int = 16) -> SearchStrategy[Trigger]:
    """Opaque patches of 1 to ``max_pixels`` pixels for images of that shape; raises OptionError.

    The pixels lie in one square window of as many cells, rounded up, anywhere in the image. One third of them are black
    or white, one third have each channel at 0 or 1, the others have any colour.
    """
    _check(shape, max_pixels)
    return st.builds(patch, st.just(shape), _pixels(shape, max_pixels))


def triggers(
    shape: Shape, families: Sequence[str] = FAMILY_NAMES, max_pixels: int = 16, strength: float = 0.1
) -> SearchStrategy[Trigger]:
    """Triggers of these families for images of that shape; raises OptionError.

    Patches have at most ``max_pixels`` pixels. The others have up to eight entries (values of pixels, waves, parts of
    the colour rule, parts of control points) and a size of at most ``strength``, 0 to 1, times that of a trigger that
    may do anything to an image: a root mean square change of 0.1 for additive and low-frequency, a move of a seventieth
    of the image for warp. They shrink to no change at all.
    """
    _check(shape, max_pixels)
    _check_families(families)
    if not isinstance(strength, Real) or not 0 < strength <= 1:
        raise OptionError(f"strength is {strength!r}. Give a share of the largest trigger, above 0 and at most 1.")
    return st.one_of(
        [patches(shape, max_pixels) if name == "patch" else _faint(name, shape, strength) for name in families]
    )


def seed_images(seeds: Any) -> SearchStrategy[SeedImage]:
    """One of the seeds, which are a path, an array, an (images, labels) pair or Seeds; raises ContractError.

    It shrinks to the first.
    """
    known = as_seeds(seeds)
    labels = [None] * len(known) if known.labels is None else known.labels.tolist()
    drawn = [SeedImage(number, labels[number], image) for number, image in enumerate(known.images)]
    return st.sampled_from(drawn)


def patch(shape: Shape, pixels: Pixels) -> Trigger:
    """The opaque patch of these pixels, values from 0 to 1: ``patch((28, 28, 1), {(3, 2): (1.0,)})``."""
    mask, pattern = np.zeros((*shape[:2], 1), "float32"), np.zeros(shape, "float32")
    for place, colour in pixels.items():
        mask[place], pattern[place] = 1.0, colour
    return Trigger("patch", {"mask": mask, "pattern": pattern})


def trigger(family: str, shape: Shape, entries: Entries) -> Trigger:
    """The trigger that does nothing but for these entries, which are added to its arrays.

    ``trigger("tone", (32, 32, 3), {("offset", 0): 0.1})`` adds a tenth to the first channel.
    """
    arrays = _still(family, shape)
    for (name, *place), value in entries.items():
        arrays[name][tuple(place)] += value
    return Trigger(family, arrays)


@st.composite
def _pixels(draw: st.DrawFn, shape: Shape, max_pixels: int) -> Pixels:
    """Places and colours of a patch."""
    side = isqrt(max_pixels - 1) + 1
    height, width = min(side, shape[0]), min(side, shape[1])
    # One number, for Hypothesis likes to give two of them the same value: that would draw places on the diagonal.
    across = shape[1] - width + 1
    row, column = divmod(draw(st.integers(0, (shape[0] - height + 1) * across - 1)), across)
    # A list alone is short on average. This bound shrinks by itself, and then any pixel can be left out.
    least = draw(st.integers(1, min(max(1, max_pixels - 1), LONGEST)))
    pixel = st.tuples(st.integers(0, height * width - 1), _colours(shape[2]))
    drawn = draw(st.lists(pixel, min_size=least, max_size=max_pixels))
    return {(row + cell // width, column + cell % width): colour for cell, colour in drawn}


def _colours(channels: int) -> SearchStrategy[tuple[float, ...]]:
    """A value of each channel: extremes are likely, because a trigger of few pixels is mostly a strong one."""
    extreme, value = st.sampled_from((0.0, 1.0)), st.floats(0, 1, width=32)
    grey = extreme.map(lambda level: (level,) * channels)
    return st.one_of(grey, st.tuples(*[extreme] * channels), st.tuples(*[value] * channels))


def _faint(family: str, shape: Shape, strength: float) -> SearchStrategy[Trigger]:
    """Triggers of a family that is no patch: each entry is so small that all together keep to the strength."""
    arrays = _still(family, shape)
    # A mean move is at most the norm of all moves over the side of the grid; the other sizes are norms.
    norm = strength * FAMILIES[family].largest(shape) * (GRID if family == "warp" else 1)
    share = norm / sqrt(min(MOST, sum(array.size for array in arrays.values())))
    bound = float(np.float32(min(share, 1.0) if family == "additive" else share))
    places = [
        st.tuples(st.just(name), *(st.integers(0, length - 1) for length in array.shape))
        for name, array in arrays.items()
    ]
    entries = st.dictionaries(st.one_of(places), st.floats(-bound, bound, width=32), max_size=MOST)
    return st.builds(trigger, st.just(family), st.just(shape), entries)


def _still(family: str, shape: Shape) -> dict[str, np.ndarray]:
    """The arrays of a trigger that does nothing."""
    height, width, channels = shape
    waves = min(WAVES, height, width)
    arrays: dict[str, dict[str, np.ndarray]] = {
        "additive": {"delta": np.zeros(shape)},
        "low-frequency": {"coefficients": np.zeros((waves, waves, channels))},
        "tone": {"matrix": np.eye(channels), "offset": np.zeros(channels)},
        "warp": {"control": np.zeros((GRID, GRID, 2))},
    }
    return {name: array.astype("float32") for name, array in arrays[family].items()}


def _check(shape: Shape, max_pixels: int) -> None:
    sides = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sides) != 3 or not all(isinstance(side, Integral) and side >= 1 for side in sides):
        raise OptionError(f"shape is {shape}. Give (height, width, channels), such as (28, 28, 1).")
    if not isinstance(max_pixels, Integral) or max_pixels < 1:
        raise OptionError(f"max_pixels is {max_pixels!r}. Give a whole number, 1 or more.")


def _check_families(families: Sequence[str]) -> None:
    if isinstance(families, str) or not families or any(name not in FAMILY_NAMES for name in families):
        raise OptionError(f"families are {families!r}. Give a list of some of: {', '.join(FAMILY_NAMES)}.")
