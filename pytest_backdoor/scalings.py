"""Scalings: the usual ways from an image between 0 and 1 to what a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """``offset + factor * image`` per channel, channels reversed first where the model wants BGR."""

    name: str
    factor: np.ndarray
    offset: np.ndarray
    reverse: bool = False

    def scale(self, images: Any) -> Any:
        """Images in unit scale ``(n, height, width, channels)`` as the model takes them; arrays or tensors."""
        return (images[..., ::-1] if self.reverse else images) * self.factor + self.offset


def usual(low: np.ndarray, high: np.ndarray) -> list[Scaling]:
    """The scalings worth trying for seeds that run from low to high in their file, the likeliest first.

    Names say what is done to the file's values. ImageNet's channel means are those of torchvision and of Caffe.
    """
    channels, span = len(low), float(high.max())
    ones = np.ones(channels, "float32")
    as_is = Scaling("as is", high - low, low)
    if span not in (1.0, 255.0):
        return [as_is]
    divided = Scaling("/255" if span == 255 else "+1, /2" if low.min() < 0 else "as is", ones, 0 * ones)
    spread = Scaling("[-1,1]" if low.min() >= 0 else "as is", 2 * ones, -ones)
    bytes_ = Scaling("as is" if span == 255 else "*255", 255 * ones, 0 * ones)
    order = {255.0: [divided, bytes_, spread], 1.0: [divided, spread, bytes_]}[span]
    if low.min() < 0:
        order = [spread, divided, bytes_]
    return order + (_imagenet() if channels == 3 else [])


def up_to(white: float, channels: int, reason: str) -> Scaling:
    """The scaling from 0 to white, named by that range and by the reason to take it."""
    return Scaling(f"0..{white:g} ({reason})", np.full(channels, white, "float32"), np.zeros(channels, "float32"))


def _imagenet() -> list[Scaling]:
    """Standardised by ImageNet's channel means, in torchvision's way and in Caffe's."""
    mean = np.array([0.485, 0.456, 0.406], "float32")
    deviation = np.array([0.229, 0.224, 0.225], "float32")
    caffe = np.array([103.939, 116.779, 123.68], "float32")
    return [
        Scaling("ImageNet means", 1 / deviation, -mean / deviation),
        Scaling("ImageNet means, BGR", np.full(3, 255, "float32"), -caffe, reverse=True),
    ]
