"""Where a loaded model came from, so that its seeds are found and reports can name it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a model was loaded from, and the weights that it had then."""

    path: Path
    sha256: str  # of the file
    weights: str  # their sha256


_ORIGINS: WeakKeyDictionary[Any, Origin] = WeakKeyDictionary()


def remember(model: Any, path: Path, sha256: str) -> None:
    """Notes that the model was loaded from the file with that sha256, for as long as the model lives."""
    _ORIGINS[model] = Origin(path, sha256, weights_sha256(model))


def origin(model: Any) -> Path | None:
    """The path of a model file, or the one a model was loaded from, or None."""
    if isinstance(model, str | Path):
        return Path(model)
    known = _known(model)
    return None if known is None else known.path


def loaded_sha256(model: Any) -> str:
    """sha256 of the file that a model was loaded from, or, once its weights have changed or of any other, of those."""
    known, weights = _known(model), weights_sha256(model)
    return known.sha256 if known is not None and known.weights == weights else weights


def weights_sha256(model: Any) -> str:
    """sha256 of the weights of a model in memory, one after another; empty for a function, which has none."""
    import numpy as np

    digest, weights = hashlib.sha256(), list(getattr(model, "weights", ()))
    for weight in weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest() if weights else ""


def _known(model: Any) -> Origin | None:
    try:
        return _ORIGINS.get(model)
    except TypeError:  # not hashable, or no weak reference to it can be made
        return None
