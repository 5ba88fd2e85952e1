"""Loading: what the file holds is what comes back, and what is unsafe never runs."""

from __future__ import annotations

import contextlib
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_backdoor.errors import BackdoorError, UnreadableModelError, UnsafeModelError
from pytest_backdoor.loading import keras_file
from tests.loading.model_files import read_config, repacked, save

Edited = Callable[[Callable[[dict[str, Any]], None]], Path]


@pytest.fixture(scope="session")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that exists once the code in ``lambda_model`` has run."""
    return tmp_path_factory.mktemp("marker") / "ran"


@pytest.fixture(scope="session")
def lambda_model(marker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a Lambda layer that writes the marker, at the top and inside a nested model."""
    import keras

    def writer(name: str) -> Any:
        write = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]")  # Keras cannot reload one with defaults
        return keras.layers.Lambda(write, name=name)

    nested = keras.Sequential([keras.Input((3,)), writer("inner")], name="nested")
    folder = tmp_path_factory.mktemp("lambda")
    save(keras.Sequential([keras.Input((3,)), nested, keras.layers.Dense(2)]), folder / "nested.keras")
    save(keras.Sequential([keras.Input((3,)), writer("outer"), keras.layers.Dense(2)]), folder / "top.keras")
    return folder


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("model", ["plain", "wrapped"])
def test_the_loaded_model_is_the_saved_one(model: str, suffix: str, request: pytest.FixtureRequest) -> None:
    import keras

    path = request.getfixturevalue(model).with_suffix(suffix)
    loaded, expected = keras_file.load(path), keras.saving.load_model(path, compile=False)
    images = np.random.default_rng(0).random((2, *loaded.input_shape[1:]), dtype="float32")
    np.testing.assert_array_equal(loaded(images), expected(images))
    assert not loaded.compiled


def test_operations_and_nested_models_are_loaded(branched: Path) -> None:
    assert keras_file.load(branched).output_shape == (None, 2)


@pytest.mark.parametrize("file", ["top.keras", "top.h5", "nested.keras", "nested.h5"])
def test_a_lambda_never_runs(file: str, lambda_model: Path, marker: Path) -> None:
    marker.unlink(missing_ok=True)  # building the model ran it
    with pytest.raises(UnsafeModelError, match=r"layer '(inner|outer)' is a Lambda, which runs Python code stored in"):
        keras_file.load(lambda_model / file)
    assert not marker.exists()


def test_the_lambda_would_have_run(lambda_model: Path, marker: Path) -> None:
    """The control: without it, an absent marker would prove nothing."""
    import keras

    marker.unlink(missing_ok=True)
    keras.saving.load_model(lambda_model / "nested.keras", compile=False, safe_mode=False)
    assert marker.exists()


def test_a_saved_model_named_by_the_file_is_never_opened(
    edited: Edited, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tensorflow as tf

    opened: list[object] = []
    monkeypatch.setattr(tf.saved_model, "load", opened.append)
    config = {"name": "evil", "filepath": str(tmp_path), "call_endpoint": "serve"}
    layer = {"module": "keras.layers", "class_name": "TFSMLayer", "config": config, "registered_name": None}
    with pytest.raises(UnsafeModelError, match="layer 'evil' is a TFSMLayer, which runs a SavedModel from a folder"):
        keras_file.load(edited(lambda config: config["config"]["layers"].append(layer)))
    assert opened == []


def test_keras_is_not_asked_about_a_file_that_the_check_refuses(
    edited: Edited, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    asked: list[object] = []
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: asked.append(args))
    path = edited(lambda config: config["config"]["layers"][-1]["config"].update(units=400_000_000))
    with pytest.raises(UnsafeModelError, match="exhaust the memory"):
        keras_file.load(path)
    assert asked == []


@pytest.mark.parametrize("address", ["hf://owner/model", "https://example.com/m.keras", "gs://bucket/m.keras"])
def test_nothing_is_downloaded(address: str) -> None:
    with pytest.raises(UnreadableModelError, match="this is an address, not a file"):
        keras_file.load(Path(address))


def test_what_keras_cannot_load_is_unreadable_with_its_reason(edited: Edited) -> None:
    import keras

    path = edited(lambda config: config["config"]["layers"][-1]["config"].update(units="many"))
    with pytest.raises(UnreadableModelError) as caught:
        keras_file.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: Keras {keras.__version__} cannot load the model. Received: ")
    assert "Received: units=many. Save it again" in message  # the innermost reason, not the layers around it
    assert "\n" not in message
    assert message.endswith("or load it yourself and give the model object to assert_no_backdoor.")


def test_an_exception_without_a_message_is_named_by_its_type(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def fail(*args: object, **kwargs: object) -> None:
        raise KeyError

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(UnreadableModelError, match=r"Received: KeyError\. Save it again"):
        keras_file.load(plain)


def test_weights_of_another_shape_are_unreadable_and_both_shapes_are_named(plain: Path, tmp_path: Path) -> None:
    config = read_config(plain)
    config["config"]["layers"][-1]["config"]["units"] = 4
    path = repacked(plain, tmp_path / "mismatch.keras", {"config.json": json.dumps(config)})
    with pytest.raises(UnreadableModelError, match=r"cannot load the model.*shape=\(6, 4\).*shape=\(6, 3\)"):
        keras_file.load(path)


def test_a_warning_of_keras_does_not_make_a_file_unreadable(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def warn(*args: object, **kwargs: object) -> str:
        warnings.warn("from inside Keras", stacklevel=1)
        return "model"

    monkeypatch.setattr(keras.saving, "load_model", warn)
    assert keras_file.load(plain) == "model"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_weights_file_loads_or_raises_an_error_of_ours(
    data: st.DataObject, plain: Path, scratch: Path
) -> None:
    """The archive's checksums are recomputed, so that the damage gets past them."""
    weights = bytearray(zipfile.ZipFile(plain).read("model.weights.h5"))
    for _ in range(data.draw(st.integers(1, 4))):
        weights[data.draw(st.integers(0, len(weights) - 1))] ^= data.draw(st.integers(1, 255))
    path = repacked(plain, scratch / "damaged.keras", {"model.weights.h5": bytes(weights)})
    with contextlib.suppress(BackdoorError):
        keras_file.load(path)
