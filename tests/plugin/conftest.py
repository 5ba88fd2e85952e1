"""What the tests of the plugin share: a folder of models whose scans are answered by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras  # noqa: F401 - pytester forgets modules that a run inside it imports first; NumPy and TensorFlow load once
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def models(pytester, monkeypatch):
    """Makes model files in models/, and runs see the fake scan: names -> None."""
    pytester.syspathinsert(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))  # for xdist's workers
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("CI", raising=False)
    # The entry point may or may not be installed where these tests run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # These tests import the plugin before the run inside them does, which pytest warns about.
    quiet = "-W 'ignore:Module already imported:pytest.PytestAssertRewriteWarning'"
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-p pytest_backdoor.plugin -p fake_scan -p no:cacheprovider {quiet}")

    def make(*names):
        for name in names:
            path = pytester.path / "models" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")

    return make


@pytest.fixture
def asked(pytester):
    """What the fake scan was asked, in order: () -> list of dictionaries."""

    def read():
        log = pytester.path / "asked.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return read
