"""Faint triggers over the whole image: blends, watermarks, sinusoids, slow waves."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.low_frequency import WAVES
from pytest_backdoor.triggers.trigger import Trigger

FLAT = 1e-9  # of its strength: what rounding leaves of a wave that is zero


def blend(shape: tuple[int, int, int], alpha: float, rng: np.random.Generator) -> Trigger:
    """Random noise blended into the image with weight ``alpha``, up to 1 (Chen et al., arXiv:1712.05526)."""
    checks.strength("alpha", alpha)
    return _blended(shape, np.full((*shape[:2], 1), alpha), rng.random(shape))


def watermark(shape: tuple[int, int, int], alpha: float, rng: np.random.Generator) -> Trigger:
    """Bright strokes across the image, blended in with weight ``alpha``, up to 1: a random word in a plain script."""
    checks.strength("alpha", alpha)
    height, width, _ = shape
    side = max(3, height // 5)
    checks.room(shape, side + 2, side + 4, "a watermark")
    letters = max(1, (width - 4) // (side + 1))
    drawn = np.zeros((height, width), bool)
    top = int(rng.integers(1, height - side))
    for letter in range(letters):
        left = 2 + letter * (side + 1)
        strokes = rng.integers(0, 2, 4).astype(bool)
        strokes[int(rng.integers(4))] = True  # no letter is blank
        drawn[top, left : left + side] |= strokes[0]
        drawn[top + side - 1, left : left + side] |= strokes[1]
        drawn[top : top + side, left] |= strokes[2]
        drawn[top : top + side, left + side - 1] |= strokes[3]
    return _blended(shape, alpha * drawn[..., None], np.ones(shape))


def sinusoid(shape: tuple[int, int, int], strength: float = 40 / 255, cycles: int = 6) -> Trigger:
    """A horizontal sine wave of that strength, in units of the value range (Barni et al., SIG, arXiv:1902.11237).

    SIG changes images of the target only and no label; ``poison`` relabels images of other classes. Raises AttackError
    for a strength that is not above 0 and at most 1, and for a wave that is zero at every pixel.
    """
    checks.strength("strength", strength)
    wave = strength * np.sin(2 * np.pi * cycles * np.arange(shape[1]) / shape[1])
    if np.abs(wave).max() < FLAT * strength:  # twice as many cycles as pixels, or as many, and so on
        raise AttackError(
            f"{cycles} cycles over {shape[1]} pixels are zero at each of them. Give another number of cycles."
        )
    return Trigger("additive", {"delta": np.broadcast_to(wave[None, :, None], shape).astype("float32")})


def low_frequency(shape: tuple[int, int, int], strength: float, rng: np.random.Generator, waves: int = 5) -> Trigger:
    """A random mixture of slow cosine waves with that root mean square change (Zeng et al., arXiv:2104.03413).

    ``waves``, from 2, is how many there are along each side, at most 8 and at most a side of the image, with the one
    that changes the brightness, which has no part. Raises AttackError for fewer, and for a strength that is not above
    0 and at most 1.
    """
    # The paper optimises a smooth trigger. This one is drawn from the very waves that scans search with.
    checks.strength("strength", strength)
    most = min(WAVES, *shape[:2])
    if min(waves, most) < 2:
        raise AttackError(f"{min(waves, most)} wave along each side only changes the brightness. Give two or more.")
    drawn = rng.normal(size=(min(waves, most), min(waves, most), shape[2]))
    drawn[0, 0] = 0.0  # no change of brightness
    scale = strength * np.sqrt(np.prod(shape)) / np.linalg.norm(drawn)
    coefficients = np.zeros((most, most, shape[2]), "float32")
    coefficients[: len(drawn), : len(drawn)] = scale * drawn
    return Trigger("low-frequency", {"coefficients": coefficients})


def _blended(shape: tuple[int, int, int], mask: np.ndarray, pattern: np.ndarray) -> Trigger:
    return Trigger("patch", {"mask": mask.astype("float32"), "pattern": pattern.reshape(shape).astype("float32")})
