"""Channel Lipschitz pruning: channels that amplify far more than their layer's others go (Zheng et al., ECCV 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from pytest_backdoor.network import rebuilt
from pytest_backdoor.repair.channels import Convolution, convolutions, masks


@dataclass(frozen=True, slots=True)
class Settings:
    """Which channels are pruned."""

    deviations: float = 3.0  # above the mean of the layer


def pruned(model: keras.Model, settings: Settings) -> tuple[keras.Model, int]:
    """A copy of the model without its outlying channels, and how many they are; it takes no images.

    With ``deviations`` = 3 a layer of ten channels or fewer has none: no value is that far from the mean of so few.
    """
    silenced = [(each, outliers(lipschitz(each), settings.deviations)) for each in convolutions(model)]
    kept = masks(model, silenced)
    weights = [weight * mask for weight, mask in zip(model.get_weights(), kept, strict=True)]
    return rebuilt(model, weights), sum(len(channels) for _, channels in silenced)


def lipschitz(convolution: Convolution) -> np.ndarray:
    """An upper bound of how much each channel amplifies a change of its input: ``(channels,)``.

    The spectral norm of the channel's kernel, reshaped to inputs by places, times the scale that its batch norm gives
    it, of several the largest. Of a separable convolution the kernel is the product of its two parts.
    """
    kernel = _kernel(convolution)
    norms = np.linalg.norm(kernel.reshape(-1, *kernel.shape[2:]).transpose(2, 1, 0), ord=2, axis=(1, 2))
    return np.asarray(norms * _scale(convolution))


def outliers(values: np.ndarray, deviations: float) -> np.ndarray:
    """Indices of the values that are more than so many standard deviations above the mean."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return np.flatnonzero(values > values.mean() + deviations * spread) if spread else np.zeros(0, int)


def _kernel(convolution: Convolution) -> np.ndarray:
    """The kernel ``(height, width, inputs, channels)``."""
    kernel = np.asarray(convolution.kernel, "float32")  # of half precision there is no linear algebra
    depthwise = getattr(convolution.layer, "depthwise_kernel", None)
    if depthwise is None:
        return kernel
    each = np.asarray(depthwise, "float32")
    pointwise = kernel.reshape(*each.shape[2:], -1)  # (inputs, multiplier, channels)
    return np.asarray(np.einsum("hwim,imc->hwic", each, pointwise))


def _scale(convolution: Convolution) -> np.ndarray | float:
    scales = [
        (1.0 if norm.gamma is None else np.abs(np.asarray(norm.gamma)))
        / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
        for norm in convolution.norms
    ]
    return np.asarray(np.max(scales, axis=0)) if scales else 1.0
