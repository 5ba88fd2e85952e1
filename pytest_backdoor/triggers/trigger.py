"""A trigger: a change to any image, stored as plain arrays that can be applied, measured and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pytest_backdoor.errors import TriggerError
from pytest_backdoor.seeds import refuse_other
from pytest_backdoor.triggers import family_named

# Images are float32 of shape (n, height, width, channels) from 0 to 1 ("unit scale") wherever a trigger meets them.
Images = np.ndarray
BATCH = 512  # images changed at a time


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of one family: the family's name and its arrays, for images in unit scale.

    patch: ``mask`` (height, width, 1) and ``pattern`` (height, width, channels), both 0 to 1.
    additive: ``delta`` (height, width, channels), -1 to 1.
    warp: ``control`` (5, 5, 2), pixels down and right.
    tone: ``matrix`` (channels, channels) and ``offset`` (channels,).
    low-frequency: ``coefficients`` (8, 8, channels) of cosine waves.
    generator: kernels ``first`` (3, 3, channels, 8) and ``second`` (3, 3, 8, channels), ``bias`` (8,) and ``strength``
    (1, 1, 1), 0 to 0.5: the pattern that is added depends on the image.
    """

    family: str
    arrays: Mapping[str, np.ndarray]

    def apply(self, images: Images) -> Images:
        """The triggered images: ``(n, height, width, channels)``, 0 to 1, same shape and scale out.

        Raises TriggerError for images that the trigger does not fit.
        """
        family = family_named(self.family)
        stacked = tuple(self.arrays[name][None] for name in family.names)
        changed = np.array(images, "float32")
        if changed.ndim != 4:
            raise TriggerError(f"images are of shape {changed.shape}. Give an array (n, height, width, channels).")
        try:
            for start in range(0, len(changed), BATCH):  # a generator holds 27 numbers for each pixel of a batch
                changed[start : start + BATCH] = family.apply(stacked, changed[start : start + BATCH])
        except Exception:
            self.require(changed.shape[1:])  # which says what does not fit
            raise
        return changed

    def __repr__(self) -> str:
        return f"<{self.family} trigger on {self.size:.2%} of the image>"  # its arrays would fill pages

    def require(self, shape: tuple[int, int, int]) -> None:
        """Raises TriggerError unless the arrays are numbers that fit images (height, width, channels)."""
        family = family_named(self.family)
        fitting = family.arrays(family.initial(1, shape, np.random.default_rng(0)))
        for name, like in zip(family.names, fitting, strict=True):
            array, wanted = np.asarray(self.arrays.get(name)), tuple(like.shape[1:])
            if array.shape != wanted or array.dtype.kind not in "uif" or not np.isfinite(array).all():
                raise TriggerError(
                    f"the trigger does not fit images {shape}: its {name} has shape {array.shape} and type "
                    f"{array.dtype}, expected finite numbers of shape {wanted}. Give a trigger for such images."
                )

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Height and width of the images that the trigger is made for; None if any will do."""
        drawn = self.arrays.get("mask", self.arrays.get("delta"))
        return None if drawn is None else (drawn.shape[0], drawn.shape[1])

    @property
    def size(self) -> float:
        """Share of the image that the trigger changes, 0 to 1: 1 for families that change it everywhere.

        patch: pixels under the mask; additive: pixels that it moves by more than 1 % of the value range.
        """
        if "mask" in self.arrays:
            return float(np.mean(self.arrays["mask"]))
        if "delta" in self.arrays:
            return float(np.mean(np.abs(self.arrays["delta"]).max(-1) > 0.01))
        return 1.0

    def save(self, path: Path | IO[bytes]) -> None:
        """Writes the trigger as ``.npz``, without pickles, to a path or an open file."""
        stored: dict[str, Any] = {**self.arrays, "family": np.array(self.family)}
        np.savez_compressed(path, **stored)

    @classmethod
    def load(cls, path: Path | str) -> Trigger:
        """Reads a saved trigger; raises TriggerError for a file that is not one."""
        try:
            refuse_other(path)
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            family = family_named(str(arrays.pop("family")))
            return cls(family.name, {name: arrays[name] for name in family.names})
        except Exception as problem:  # each way of packing, and each broken header, has errors of its own
            said = f"it has no {problem}" if isinstance(problem, KeyError) else problem
            raise TriggerError(f"no trigger in {path}: {said}. Give the .npz file that a scan saved.") from problem
