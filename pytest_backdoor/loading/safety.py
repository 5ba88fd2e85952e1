"""Decides, without opening a framework, whether a model file can be loaded without running what is inside it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import h5py

from pytest_backdoor.errors import BackdoorError, UnreadableModelError
from pytest_backdoor.loading import archive
from pytest_backdoor.loading.config_walk import ADDRESS, refuse_unsafe
from pytest_backdoor.loading.hdf5_walk import count_elements
from pytest_backdoor.loading.parameters import (
    refuse_computed,
    refuse_disordered,
    refuse_oversized,
    refuse_unrolled,
    refuse_unshaped,
)
from pytest_backdoor.values import other_than_file

SUFFIXES = (".keras", ".h5", ".hdf5")
ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
KINDS = {ZIP: "a zip archive", HDF5: "an HDF5 file", b"\x80": "a pickle, which can run code"}
AGAIN = "Download or save the model again."
# In a configuration; the largest networks of Keras have some ten thousand objects and lists.
PARTS = {",": (2_000_000, "values"), "{[": (500_000, "objects and lists")}


def check(path: Path) -> None:
    """Raises UnreadableModelError or UnsafeModelError unless Keras can load the file without running code in it."""
    try:
        _refuse_wrong_file(path)
        if path.suffix == ".keras":
            _check_keras(path)
        else:
            _check_hdf5(path)
    except BackdoorError as error:
        raise type(error)(f"{path}: {error}") from error


def sha256(path: Path) -> str:
    """The file's SHA-256 digest in hexadecimal, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_wrong_file(path: Path) -> None:
    if ADDRESS.match(str(path)):
        raise UnreadableModelError("this is an address, not a file. Download the model first and give its path.")
    if path.suffix not in SUFFIXES:
        raise UnreadableModelError(
            f"this is not the name of a Keras model. Received: the ending {path.suffix!r}. Give a file that ends in "
            f"{', '.join(SUFFIXES)}."
        )
    expected = ZIP if path.suffix == ".keras" else HDF5
    start = _first_bytes(path)
    if not start:
        raise UnreadableModelError(f"the file is empty. {AGAIN}")
    if not start.startswith(expected):
        received = next((kind for magic, kind in KINDS.items() if start.startswith(magic)), repr(start))
        raise UnreadableModelError(
            f"a {path.suffix} file is {KINDS[expected]}, but this one is not. Received: {received}. {AGAIN}"
        )


def _first_bytes(path: Path) -> bytes:
    try:
        if other := other_than_file(path):
            raise UnreadableModelError(f"this is {other}, not a file. Give the path of a model file.")
        with path.open("rb") as file:
            return file.read(len(HDF5))
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableModelError(
            f"the file cannot be opened. Received: {reason}. Give the path of a model file."
        ) from error


def _check_keras(path: Path) -> None:
    parts = archive.read(path)
    metadata, config = _parse(parts.metadata, archive.METADATA), _parse(parts.config, archive.CONFIG)
    _refuse_other_keras(metadata.get("keras_version"))
    # The model is loaded with compile=False, and Keras then drops this entry unread: a custom loss is no danger here.
    config = config | {"compile_config": None}
    stored, _ = _read_hdf5(io.BytesIO(parts.weights))
    refuse_unsafe(config)
    refuse_computed(config)
    refuse_unrolled(config)
    refuse_disordered(config)
    refuse_unshaped(config)
    refuse_oversized(config, stored)


def _check_hdf5(path: Path) -> None:
    stored, attributes = _read_hdf5(path)
    if attributes["model_config"] is None:
        raise UnreadableModelError(
            "the file has no model_config: it holds weights without a model. Save the whole model with "
            "model.save('name.keras')."
        )
    _refuse_other_keras(attributes["keras_version"])
    config = _parse(attributes["model_config"], "model_config")
    refuse_unsafe(config)
    refuse_computed(config)
    refuse_unrolled(config)
    refuse_disordered(config)
    refuse_oversized(config, stored)


def _read_hdf5(source: Path | io.BytesIO) -> tuple[int, dict[str, Any]]:
    """The stored weights and the file's own attributes, text decoded."""
    try:
        with h5py.File(source, "r") as file:
            stored = count_elements(file)
            return stored, {name: _text(file, name) for name in ("model_config", "keras_version")}
    except BackdoorError:
        raise
    except Exception as error:  # h5py passes on whatever a damaged file makes of it: OSError, KeyError, RuntimeError...
        raise UnreadableModelError(f"the HDF5 data is damaged or truncated. Received: {error}. {AGAIN}") from error


def _text(file: h5py.File, name: str) -> object:
    if name not in file.attrs or file.attrs.get_id(name).shape != ():  # entries of an array can all be one long text
        return None
    value = file.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


def _parse(text: object, name: str) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise UnreadableModelError(f"{name} is not text. Received: {type(text).__name__}. {AGAIN}")
    _refuse_endless(text, name)
    try:
        parsed = json.loads(text)
    except RecursionError as error:
        raise UnreadableModelError(f"{name} is nested too deep to be a model. {AGAIN}") from error
    except ValueError as error:  # not JSON, not Unicode, or a number of thousands of digits
        raise UnreadableModelError(f"{name} is not JSON. Received: {error}. {AGAIN}") from error
    if not isinstance(parsed, dict):
        raise UnreadableModelError(f"{name} does not describe a model. Received: {type(parsed).__name__}. {AGAIN}")
    return parsed


def _refuse_endless(text: str | bytes, name: str) -> None:
    """Raises UnreadableModelError for so much that reading it would take gigabytes and minutes."""
    for marks, (most, what) in PARTS.items():
        found = sum(text.count(mark) if isinstance(text, str) else text.count(mark.encode()) for mark in marks)
        if found > most:
            raise UnreadableModelError(f"{name} has {found:,} {what}, far more than any model has. {AGAIN}")


def _refuse_other_keras(version: object) -> None:
    if not isinstance(version, str):
        raise UnreadableModelError(f"the file does not say which Keras saved it. Received: {version!r}. {AGAIN}")
    major = version.partition(".")[0]
    if major in ("0", "1", "2"):
        raise UnreadableModelError(
            f"the model was saved by Keras {major}. Received: keras_version {version}. Load it with that Keras (the "
            f"tf_keras package), rebuild it in Keras 3 and save it again as .keras."
        )
