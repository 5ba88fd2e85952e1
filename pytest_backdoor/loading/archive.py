"""Reads the three parts of a ``.keras`` file without unpacking it to disk."""

from __future__ import annotations

import stat
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_backdoor.errors import UnreadableModelError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ASSETS = "assets/"
ENCRYPTED = 0x1  # bit 0 of a member's flags

EXPANSION = 20  # Keras stores members uncompressed; zipped again, weights shrink to about 90 % and JSON to a tenth
SMALL = 1 << 20  # bytes that any member may have, whatever its ratio
JSON_BYTES = 64 << 20
WEIGHTS_BYTES = 16 << 30


@dataclass(frozen=True, slots=True)
class Archive:
    """What a ``.keras`` file holds."""

    metadata: bytes
    config: bytes
    weights: bytes


def read(path: Path) -> Archive:
    """The parts of the file, once its table of contents has been found plain and of bounded size."""
    try:
        with zipfile.ZipFile(path) as file:
            _refuse_odd_members(file.infolist())
            _refuse_bomb(sum(member.file_size for member in file.infolist()), path.stat().st_size)
            return Archive(file.read(METADATA), file.read(CONFIG), file.read(WEIGHTS))
    except UnreadableModelError:
        raise
    except Exception as error:  # each way of packing has errors of its own
        raise UnreadableModelError(
            f"the zip archive is damaged or truncated. Received: {error}. Download or save the model again."
        ) from error


def _refuse_odd_members(members: list[zipfile.ZipInfo]) -> None:
    counts = Counter(member.filename for member in members)
    missing = [name for name in (METADATA, CONFIG, WEIGHTS) if name not in counts]
    if missing:
        raise UnreadableModelError(
            f"this zip archive is not a Keras model: it has no {', '.join(missing)}. Received: "
            f"{', '.join(sorted(counts)[:5]) or 'no members'}. Save the model with model.save('name.keras')."
        )
    for member in members:
        fault = _fault(member) or (counts[member.filename] > 1 and "appears more than once")
        if fault:
            raise UnreadableModelError(
                f"the zip member {member.filename[:80]!r} {fault}, which Keras never writes. Save the model again."
            )


def _refuse_bomb(unpacked: int, stored: int) -> None:
    # Against the file's own size: the members of a zip bomb can overlap.
    if unpacked > SMALL + EXPANSION * stored:
        raise UnreadableModelError(
            f"the zip archive unpacks from {stored:,} to {unpacked:,} bytes, which no Keras model does. Save the model "
            "again."
        )


def _fault(member: zipfile.ZipInfo) -> str:
    limit = WEIGHTS_BYTES if member.filename == WEIGHTS else JSON_BYTES
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    if member.filename.startswith("/") or "\\" in member.filename or ":" in member.filename:
        return "has an absolute path"
    if ".." in PurePosixPath(member.filename).parts:
        return "leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link"
    if member.filename not in (CONFIG, METADATA, WEIGHTS) and not member.filename.startswith(ASSETS):
        return "is not part of a Keras model"
    if member.file_size > max(SMALL, EXPANSION * member.compress_size) or member.file_size > limit:
        return f"unpacks from {member.compress_size:,} to {member.file_size:,} bytes"
    return ""
