"""The adversarial inputs of a run of fuzzing as files: a picture of each, and the metrics beside."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from pytest_backdoor.report.json import SCHEMA
from pytest_backdoor.results import FuzzRun, Inputs, fuzz_run_to_dict

UNSAFE = re.compile(r"[^A-Za-z0-9._+=-]+")  # in the name of a file, on one system or another
LONGEST = 100  # characters of a part of a name
DIGITS = 12  # of a digest
COLOURS = (1, 3)  # channels that a picture has
RESULTS = "results.json"


def folder(run: FuzzRun) -> str:
    """A name for the folder: the model's, its digest, that of the seeds, and the settings that were changed.

    So the same run finds its own folder again, and another run another one.
    """
    digests = (run.sha256[:DIGITS], run.seeds_sha256[:DIGITS])
    return "_".join(filter(None, [safe(Path(run.path).stem), *digests, safe("_".join(run.changed))]))


def files(run: FuzzRun, inputs: Inputs) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """The name of each file and what writes it; the metrics, which name the inputs, come last."""
    names = [name_of(inputs, row) for row in range(len(inputs.images))]
    for name, image in zip(names, inputs.images, strict=True):  # a file each
        yield name, partial(save, image)
    text = json.dumps({"schema": SCHEMA} | fuzz_run_to_dict(run) | {"files": names}, indent=2, allow_nan=False) + "\n"
    yield RESULTS, lambda path: path.write_text(text, encoding="utf-8")


def name_of(inputs: Inputs, row: int) -> str:
    """The file of one input: 17_3_to_8_i2.png, or 17_3_to_8_t1_i2.png where it was pushed from a later image."""
    turn = f"_t{inputs.turn[row]}" if inputs.turn[row] else ""
    suffix = "png" if inputs.images.shape[-1] in COLOURS else "npy"
    labels = f"{inputs.before[row]}_to_{inputs.after[row]}"
    return f"{safe(inputs.seeds[row])}_{labels}{turn}_i{inputs.iteration[row]}.{suffix}"


def safe(text: str) -> str:
    """The text as every file system takes it; a long one ends in its digest instead."""
    plain = UNSAFE.sub("-", text)
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - DIGITS - 1]}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def save(image: np.ndarray, path: Path) -> None:
    """Writes ``(height, width, channels)``, 0 to 1: grey and colour as PNG of 8 bits, anything else as it is."""
    if image.shape[-1] not in COLOURS:
        np.save(path, image)
        return
    from PIL import Image

    values = np.round(255 * np.clip(image, 0, 1)).astype("uint8")
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(path)
