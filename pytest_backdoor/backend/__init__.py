"""The gradient seam: the one door to a numerical framework, chosen by Keras' backend."""

from __future__ import annotations

import keras

from pytest_backdoor.errors import OptionError

if keras.config.backend() == "tensorflow":
    from pytest_backdoor.backend.tensorflow import compiled, device, pulled_back, value_and_grad
else:
    raise OptionError(
        f"Keras runs on the backend {keras.config.backend()!r}, which has no gradient seam yet. "
        "Set the environment variable KERAS_BACKEND=tensorflow."
    )

__all__ = ["compiled", "device", "pulled_back", "value_and_grad"]
