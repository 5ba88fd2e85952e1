"""What did the scanning, as reports say it."""

import sys
from types import SimpleNamespace

import pytest

from pytest_backdoor import tool


@pytest.mark.parametrize(
    ("devices", "device"), [(["cpu:0"], "cpu"), (["cpu:0", "GPU:0"], "gpu"), (["tpu:0", "tpu:1"], "tpu"), ([], "cpu")]
)
def test_the_facts_are_those_of_the_keras_that_is_loaded(monkeypatch, devices, device):
    keras = SimpleNamespace(
        __version__="3.15.1",
        backend=SimpleNamespace(backend=lambda: "jax"),
        distribution=SimpleNamespace(list_devices=lambda: devices),
    )
    monkeypatch.setitem(sys.modules, "keras", keras)
    assert tool.facts() == {"backend": "jax", "keras": "3.15.1", "device": device}


def test_a_report_does_not_load_keras(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    assert tool.facts() == {}
    assert "keras" not in sys.modules


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(tool, "NAME", "no-such-package")
    assert tool.version() == "unknown"
