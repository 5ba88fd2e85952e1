"""A pytest plugin that answers scans by file name, for tests of what happens around a scan."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pytest_backdoor import options as option
from pytest_backdoor.results import Evidence, Finding, ScanResult, SeedsUsed

SEEDS = SeedsUsed(200, "/255", 0.981, 100, 100)


@dataclass(frozen=True)
class FakeTrigger:
    """Three by three pixels in the lower right corner, one of them left out; a real one would import Keras."""

    def save(self, path: Path) -> None:
        mask, pattern = np.zeros((28, 28, 1), "float32"), np.zeros((28, 28, 1), "float32")
        mask[24:27, 23:26] = 1
        mask[24, 24] = 0
        pattern[24:27, 23:26, 0] = np.linspace(0, 1, 9).reshape(3, 3)
        np.savez_compressed(path, family=np.array("patch"), mask=mask, pattern=pattern)


def finding(kind="all-to-one", target=7, source=None, mapping=None) -> Finding:
    rule = {"all-to-one": "BD301", "all-to-all": "BD302", "source-specific": "BD303"}[kind]
    evidence = (Evidence("transfer", 0.97, (0.93, 0.99)), Evidence("strip", 0.99))
    success = (0.97, 0.93, 0.99)
    return Finding(
        rule, "patch", kind, target, source, mapping, 8 / 784, 8, success, 1e-6, evidence, None, FakeTrigger()
    )


def answer(path: Path, name: str) -> ScanResult:
    """The fixed result for a file of that name."""
    sha256 = f"{len(path.name):02x}" * 32
    if path.stem.startswith("clean"):
        return ScanResult(name, sha256, "clean", 1.5, 0.4, 1.0, SEEDS)
    if path.stem.startswith("backdoor"):
        return ScanResult(name, sha256, "backdoor", 2.5, 1e-6, 8.0, SEEDS, (finding(),))
    if path.stem.startswith("shifted"):
        found = finding("all-to-all", None, None, {label: (label + 1) % 10 for label in range(10)})
        return ScanResult(name, sha256, "backdoor", 2.5, 1e-6, 8.0, SEEDS, (found,))
    if path.stem.startswith("unsure"):
        return ScanResult(name, sha256, "inconclusive", 3.5, error="8 seeds are too few, 40 would do")
    if path.stem.startswith("interrupted"):
        raise KeyboardInterrupt
    if path.stem.startswith("killed"):
        os._exit(9)
    if path.stem.startswith("bug"):
        raise ZeroDivisionError("a mistake of ours")
    return ScanResult(name, sha256, "error", 0.1, error="not a zip archive")


def scan(model, seeds=None, options=None, name=None, suspects=None) -> ScanResult:
    """Answers, and writes down beside the tests what it was asked."""
    path = Path(name or "callable")
    asked = option.to_dict(options or option.Options()) | {"seeds": None if seeds is None else str(seeds), "name": name}
    with open("asked.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(asked) + "\n")
    return answer(path, str(name))


class FakeModel:
    """Stands for a loaded model."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name, function, fake in (("scan", "scan", scan), ("loading.keras_file", "load", lambda path: FakeModel())):
        patch.setattr(_module(f"pytest_backdoor.{name}", patch), function, fake, raising=False)


def _module(name: str, patch: pytest.MonkeyPatch) -> ModuleType:
    """The module; in a process that has no Keras an empty one in its place, for xdist's workers load Keras slowly."""
    if "keras" in sys.modules:
        return importlib.import_module(name)  # not by dotted text: pytester forgets what the package still has
    patch.setitem(sys.modules, name, ModuleType(name))
    return sys.modules[name]
