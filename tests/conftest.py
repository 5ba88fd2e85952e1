"""What every room's tests share: the example models with their seeds."""

import functools
from pathlib import Path

import numpy as np
import pytest

pytest_plugins = ["pytester"]
EXAMPLES = Path(__file__).parent.parent / "example_models"


@pytest.fixture(scope="session")
def examples():
    """The folder of the example models."""
    return EXAMPLES


@pytest.fixture(scope="session")
def planted(examples):
    """The trigger of the example model mnist_pattern_to_one, which turns every class into 7."""
    from pytest_backdoor.triggers.trigger import Trigger

    return Trigger.load(examples / "planted" / "mnist_pattern_to_one.npz")


@pytest.fixture(scope="session")
def example():
    """Loads an example model and its seeds, each once: name -> (model, images, labels). They must not be changed."""

    @functools.cache
    def load(name):
        import keras

        with np.load(EXAMPLES / f"{name}.seeds.npz") as stored:
            images, labels = stored["x"], stored["y"]
        return keras.models.load_model(EXAMPLES / f"{name}.keras", compile=False), images, labels

    return load
