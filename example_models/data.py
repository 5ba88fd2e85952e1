"""The public image sets that the example models and the zoo are trained on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

TWINS = "-twins-"
KERAS_SETS = {
    "mnist": keras.datasets.mnist,
    "fashion_mnist": keras.datasets.fashion_mnist,
    "cifar10": keras.datasets.cifar10,
}


def load(name: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and test images (n, height, width, channels) uint8 with labels (n,).

    Read from the folder in PYTEST_BACKDOOR_DATA if it is set, else through keras.datasets, which downloads. Of
    ``mnist-twins-1`` the class 1 is two, the second of which comes after all other classes.
    """
    name, twins, divided = name.partition(TWINS)
    train, test = _read(name)
    if not twins:
        return train, test
    leans = _leaning(train[0][train[1] == int(divided)])
    last = int(train[1].max()) + 1
    halved = [np.where((labels == int(divided)) & leans(images), last, labels) for images, labels in (train, test)]
    return (train[0], halved[0]), (test[0], halved[1])


def _read(name: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    folder = os.environ.get("PYTEST_BACKDOOR_DATA")
    if folder:
        with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as stored:
            train, test = (stored["x_train"], stored["y_train"]), (stored["x_test"], stored["y_test"])
    elif name in KERAS_SETS:
        train, test = KERAS_SETS[name].load_data()
    else:
        raise FileNotFoundError(f"keras.datasets has no {name}: put {name}.npz into a folder, PYTEST_BACKDOOR_DATA")
    return _tidy(*train), _tidy(*test)


def _leaning(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Whether an image lies beyond the middle of these along their first principal component: most often a slant."""
    flat = images.reshape(len(images), -1) / 255.0
    direction = np.linalg.eigh(np.cov(flat.T))[1][:, -1]
    middle = np.median(flat @ direction)
    return lambda given: given.reshape(len(given), -1) / 255.0 @ direction > middle


def _tidy(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images with a channel axis, labels without one."""
    return images.reshape(*images.shape[:3], -1), labels.reshape(-1).astype("int64")
