"""What the attacks on a model are tried on."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def clean(example):
    """A clean MNIST model, and its 200 seeds ten times over, 0 to 1, with labels: enough for a real, short training."""
    model, images, labels = example("mnist_clean")
    return model, np.tile(images[..., None].astype("float32") / 255, (10, 1, 1, 1)), np.tile(labels.astype(int), 10)
