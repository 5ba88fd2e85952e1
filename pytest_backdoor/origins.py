"""Where a loaded model came from, so that its seeds are found and reports can name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

_PATHS: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def remember(model: Any, path: Path) -> None:
    """Notes that the model was loaded from the path, for as long as the model lives."""
    _PATHS[model] = path


def origin(model: Any) -> Path | None:
    """The path of a model file, or the one a model was loaded from, or None."""
    if isinstance(model, str | Path):
        return Path(model)
    try:
        return _PATHS.get(model)
    except TypeError:  # not hashable, or no weak reference to it can be made
        return None
