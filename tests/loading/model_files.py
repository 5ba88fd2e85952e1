"""Takes model files apart and puts them together again with a part replaced."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Config = dict[str, Any]
Edit = Callable[[Config], None]


def save(model: Any, path: Path) -> Path:
    model.save(path)
    model.save(path.with_suffix(".h5"))
    return path


def read_config(path: Path) -> Config:
    config: Config = json.loads(zipfile.ZipFile(path).read("config.json"))
    return config


def changed(config: Config, change: Edit) -> str:
    change(config)
    return json.dumps(config)


def repacked(source: Path, target: Path, members: dict[str, str | bytes | None], **kind: int) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **kind) as new:
        for name in [*old.namelist(), *(members.keys() - set(old.namelist()))]:
            data = members.get(name, old.read(name) if name in old.namelist() else None)
            if data is not None:
                new.writestr(name, data)
    return target
