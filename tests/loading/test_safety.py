"""The check as a whole: honest files pass, damaged and misnamed ones are explained, and no framework is opened."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_backdoor.errors import BackdoorError, UnreadableModelError
from pytest_backdoor.loading import probe
from pytest_backdoor.loading.safety import check, sha256

DAMAGE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def complaint(path: Path) -> str:
    with pytest.raises(UnreadableModelError) as caught:
        check(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("model", ["plain", "branched", "wrapped"])
def test_a_model_of_keras_own_layers_passes(model: str, request: pytest.FixtureRequest) -> None:
    check(request.getfixturevalue(model))


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
@pytest.mark.parametrize("model", ["plain", "wrapped"])
def test_a_model_saved_as_hdf5_passes(model: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(request.getfixturevalue(model).with_suffix(".h5").read_bytes())
    check(path)


def test_a_custom_loss_passes_because_the_model_is_loaded_without_it(edited: Callable[..., Path]) -> None:
    check(edited(lambda config: config["compile_config"].update(loss={"module": "mine", "class_name": "Focal"})))


def test_the_check_opens_no_framework(plain: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pytest_backdoor.loading.safety import check; "
        "check(Path(sys.argv[1])); print({'keras', 'tensorflow', 'jax', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code, plain], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 5000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_an_empty_file_is_named_as_such(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"empty{suffix}"
    path.touch()
    assert complaint(path) == "the file is empty. Download or save the model again."


def test_a_missing_file_is_named_as_such(tmp_path: Path) -> None:
    message = complaint(tmp_path / "absent.keras")
    assert message == ("the file cannot be opened. Received: No such file or directory. Give the path of a model file.")


def test_a_folder_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "folder.keras").mkdir()
    assert complaint(tmp_path / "folder.keras").startswith("this is a folder, not a file.")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    assert complaint(tmp_path / "pipe.keras").startswith("this is a pipe, not a file.")


def test_a_path_with_a_null_byte_is_refused() -> None:
    assert "Received: embedded null byte" in complaint(Path("a\0b.keras"))


@pytest.mark.parametrize("name", ["model.pt", "model", "model.KERAS"])
def test_an_unknown_ending_is_refused(name: str, tmp_path: Path) -> None:
    message = complaint(tmp_path / name)
    assert "this is not the name of a Keras model. Received: the ending" in message
    assert "Give a file that ends in .keras, .h5, .hdf5." in message


@pytest.mark.parametrize("address", ["hf://owner/model.keras", "https://example.com/m.keras", "gs://bucket/m.h5"])
def test_an_address_is_not_a_file(address: str) -> None:
    assert "this is an address, not a file. Download the model first" in complaint(Path(address))


def test_a_misnamed_file_is_told_for_what_it_is(plain: Path, tmp_path: Path) -> None:
    hdf5, archive, pickled = tmp_path / "a.keras", tmp_path / "b.h5", tmp_path / "c.h5"
    hdf5.write_bytes(plain.with_suffix(".h5").read_bytes())
    archive.write_bytes(plain.read_bytes())
    pickled.write_bytes(pickle.dumps([1]))
    assert complaint(hdf5).startswith("a .keras file is a zip archive, but this one is not. Received: an HDF5 file.")
    assert complaint(archive).startswith("a .h5 file is an HDF5 file, but this one is not. Received: a zip archive.")
    assert "Received: a pickle, which can run code." in complaint(pickled)


def test_text_in_place_of_a_model_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "page.keras"
    path.write_text("<!doctype html>")
    assert "Received: b'<!doctyp'" in complaint(path)


@pytest.mark.parametrize(
    ("member", "text", "message"),
    [
        ("config.json", "{", "config.json is not JSON. Received: Expecting property name"),
        ("config.json", b"\xff\xfe\xff", "config.json is not JSON. Received: 'utf-16"),
        ("config.json", "[1]", "config.json does not describe a model. Received: list."),
        ("config.json", "[" * 100_000, "config.json is nested too deep to be a model."),
        ("config.json", '{"units": ' + "9" * 5000 + "}", "config.json is not JSON. Received: Exceeds the limit"),
        ("metadata.json", "", "metadata.json is not JSON."),
        ("config.json", "[" + "1," * 2_000_001, "config.json has 2,000,001 values, far more than any model has."),
        ("metadata.json", b"[" + b"{}," * 500_001, "metadata.json has 500,002 objects and lists, far more than any"),
        ("metadata.json", "{}", "the file does not say which Keras saved it. Received: None."),
    ],
)
def test_bad_json_is_unreadable(member: str, text: str | bytes, message: str, repack: Callable[..., Path]) -> None:
    assert complaint(repack({member: text})).startswith(message)


def test_a_keras_2_archive_is_sent_back_to_keras_2(repack: Callable[..., Path]) -> None:
    message = complaint(repack({"metadata.json": json.dumps({"keras_version": "2.15.0"})}))
    assert message.startswith("the model was saved by Keras 2. Received: keras_version 2.15.0.")
    assert "rebuild it in Keras 3 and save it again as .keras" in message


def test_a_keras_2_h5_file_is_sent_back_to_keras_2(edited_h5: Callable[..., Path]) -> None:
    path = edited_h5(lambda file: file.attrs.modify("keras_version", b"2.15.0"))
    assert complaint(path).startswith("the model was saved by Keras 2. Received: keras_version 2.15.0.")


def test_weights_alone_are_not_a_model(edited_h5: Callable[..., Path]) -> None:
    def drop(file: Any) -> None:
        del file.attrs["model_config"]

    assert complaint(edited_h5(drop)).startswith("the file has no model_config: it holds weights without a model.")


@pytest.mark.parametrize("value", [[b"{}", b"{}"], 7])
def test_a_model_config_that_is_not_one_text_is_unreadable(value: object, edited_h5: Callable[..., Path]) -> None:
    def replace(file: Any) -> None:
        del file.attrs["model_config"]
        file.attrs["model_config"] = value

    assert "model_config" in complaint(edited_h5(replace))


def test_weights_that_are_not_hdf5_are_unreadable(repack: Callable[..., Path]) -> None:
    assert complaint(repack({"model.weights.h5": b"nothing"})).startswith("the HDF5 data is damaged or truncated.")


@DAMAGE
@given(share=st.floats(0, 1, exclude_max=True), suffix=st.sampled_from([".keras", ".h5"]))
def test_a_truncated_file_is_always_unreadable(share: float, suffix: str, plain: Path, scratch: Path) -> None:
    whole = plain.with_suffix(suffix).read_bytes()
    path = scratch / f"truncated{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UnreadableModelError):
        check(path)


@pytest.mark.parametrize(("suffix", "examples", "checked"), [(".keras", 75, check), (".h5", 15, probe.check)])
def test_flipped_bits_pass_or_raise_an_error_of_ours(
    suffix: str, examples: int, checked: Callable[[Path], None], plain: Path, scratch: Path
) -> None:
    """The HDF5 library itself may crash, and then in the process that reads the file first."""
    whole, path = plain.with_suffix(suffix).read_bytes(), scratch / f"flipped{suffix}"

    @settings(DAMAGE, max_examples=examples)
    @given(st.dictionaries(st.integers(0, len(whole) - 1), st.integers(1, 255), min_size=1, max_size=8))
    def passes_or_raises(flips: dict[int, int]) -> None:
        damaged = bytearray(whole)
        for place, bits in flips.items():
            damaged[place] ^= bits
        path.write_bytes(damaged)
        with contextlib.suppress(BackdoorError):
            checked(path)

    passes_or_raises()
