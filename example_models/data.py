"""The public image sets that the example models and the zoo are trained on."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np

KERAS_SETS = {
    "mnist": keras.datasets.mnist,
    "fashion_mnist": keras.datasets.fashion_mnist,
    "cifar10": keras.datasets.cifar10,
}


def load(name: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and test images (n, height, width, channels) uint8 with labels (n,).

    Read from the folder in PYTEST_BACKDOOR_DATA if it is set, else through keras.datasets, which downloads.
    """
    folder = os.environ.get("PYTEST_BACKDOOR_DATA")
    if folder:
        with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as stored:
            train, test = (stored["x_train"], stored["y_train"]), (stored["x_test"], stored["y_test"])
    elif name in KERAS_SETS:
        train, test = KERAS_SETS[name].load_data()
    else:
        raise FileNotFoundError(f"keras.datasets has no {name}: put {name}.npz into a folder, PYTEST_BACKDOOR_DATA")
    return _tidy(*train), _tidy(*test)


def _tidy(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images with a channel axis, labels without one."""
    return images.reshape(*images.shape[:3], -1), labels.reshape(-1).astype("int64")
