"""Loads a ``.keras`` or ``.h5`` file with Keras, once the static check has found nothing in it that could run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_backdoor.errors import UnreadableModelError
from pytest_backdoor.loading import safety

if TYPE_CHECKING:
    import keras


def load(path: Path) -> keras.Model:
    """The model in the file, not compiled; raises UnreadableModelError or UnsafeModelError."""
    safety.check(path)
    import keras

    try:
        # Under `-W error` a warning of Keras, about which the reader can do nothing, would make the file unreadable.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged configuration leads to
        raise UnreadableModelError(
            f"{path}: Keras {keras.__version__} cannot load the model. Received: {_first_line(error)}. Save it again "
            f"with this Keras, or load it yourself and give the model object to assert_no_backdoor."
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
