"""Where a loaded model came from."""

import gc
from pathlib import Path

import numpy as np

from pytest_backdoor import origins


class Model:
    """Stands for a loaded model."""

    def __init__(self):
        self.weights = [np.zeros(3)]


def test_a_loaded_model_is_remembered_and_a_path_is_itself():
    model = Model()
    origins.remember(model, Path("models/a.keras"), "ab" * 32)
    assert origins.origin(model) == Path("models/a.keras")
    assert origins.origin("models/b.keras") == Path("models/b.keras")
    assert origins.origin(Model()) is None


def test_a_model_has_the_digest_of_its_file_until_its_weights_change():
    model, other = Model(), Model()
    origins.remember(model, Path("models/a.keras"), "ab" * 32)
    assert origins.loaded_sha256(model) == "ab" * 32
    assert origins.loaded_sha256(other) == origins.weights_sha256(model)
    model.weights[0][1] = 1
    assert origins.loaded_sha256(model) == origins.weights_sha256(model) != origins.weights_sha256(other)


def test_a_function_has_no_digest():
    assert origins.loaded_sha256(lambda images: images) == ""


def test_what_cannot_be_remembered_has_no_origin():
    assert origins.origin([1, 2]) is None


def test_a_model_that_is_gone_is_forgotten():
    model = Model()
    origins.remember(model, Path("a.keras"), "ab" * 32)
    kept = len(origins._ORIGINS)
    del model
    gc.collect()
    assert len(origins._ORIGINS) == kept - 1
