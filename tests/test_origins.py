"""Where a loaded model came from."""

import gc
from pathlib import Path

from pytest_backdoor import origins


class Model:
    """Stands for a loaded model."""


def test_a_loaded_model_is_remembered_and_a_path_is_itself():
    model = Model()
    origins.remember(model, Path("models/a.keras"))
    assert origins.origin(model) == Path("models/a.keras")
    assert origins.origin("models/b.keras") == Path("models/b.keras")
    assert origins.origin(Model()) is None


def test_what_cannot_be_remembered_has_no_origin():
    assert origins.origin([1, 2]) is None


def test_a_model_that_is_gone_is_forgotten():
    model = Model()
    origins.remember(model, Path("a.keras"))
    kept = len(origins._PATHS)
    del model
    gc.collect()
    assert len(origins._PATHS) == kept - 1
