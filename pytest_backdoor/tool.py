"""What did the scanning: version, backend, Keras and device."""

from __future__ import annotations

import sys
from importlib import metadata

NAME = "pytest-backdoor"


def version() -> str:
    """The installed version, or "unknown" when the package runs from a bare folder."""
    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "unknown"


def facts() -> dict[str, str]:
    """Backend, Keras version and device of this process; empty before Keras was needed."""
    # Asked of what is loaded already: a report must not be the reason to load a framework.
    keras = sys.modules.get("keras")
    if keras is None:
        return {}
    return {"backend": keras.backend.backend(), "keras": keras.__version__, "device": _device(keras)}


def about() -> dict[str, str]:
    """Name and version of the tool, and the facts of this process."""
    return {"name": NAME, "version": version()} | facts()


def _device(keras: object) -> str:
    """The first device that is not a CPU, such as "gpu", else "cpu"."""
    devices = keras.distribution.list_devices()  # type: ignore[attr-defined]
    kinds = [str(device).partition(":")[0].lower() for device in devices]
    return next((kind for kind in kinds if kind != "cpu"), "cpu")
