"""Loads a ``.keras`` or ``.h5`` file with Keras, once the static check has found nothing in it that could run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_backdoor.errors import UnreadableModelError, reason
from pytest_backdoor.loading import probe, rehearsal

if TYPE_CHECKING:
    import keras


def opened(model: Any) -> Any:
    """The model in a file, as ``load`` gives it; what is no path is taken for the model itself."""
    return load(Path(model)) if isinstance(model, str | Path) else model


def load(path: Path) -> keras.Model:
    """The model in the file, not compiled; raises UnreadableModelError or UnsafeModelError."""
    probe.check(path)
    if path.suffix != ".keras":  # only such a file states the shapes that Keras builds its layers for
        rehearsal.check(path)
    import keras

    try:
        # Under `-W error` a warning of Keras, about which the reader can do nothing, would make the file unreadable.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged configuration leads to
        raise UnreadableModelError(
            f"{path}: Keras {keras.__version__} cannot load the model. Received: {reason(error)}. Save it again "
            f"with this Keras, or load it yourself and give the model object to assert_no_backdoor."
        ) from error
