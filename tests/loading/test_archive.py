"""What the zip archive around a model must look like."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_backdoor.errors import UnreadableModelError
from pytest_backdoor.loading.safety import check

Repack = Callable[..., Path]


def complaint(path: Path) -> str:
    with pytest.raises(UnreadableModelError) as caught:
        check(path)
    return str(caught.value).removeprefix(f"{path}: ")


def with_flag(path: Path, name: str, flag: int) -> Path:
    """Sets a flag bit of one member in the archive's table of contents."""
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46  # the fixed part of an entry; the name comes after it
    assert data[entry : entry + 4] == b"PK\x01\x02"
    data[entry + 8] |= flag
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_member_is_named(name: str, repack: Repack) -> None:
    assert complaint(repack({name: None})).startswith(f"this zip archive is not a Keras model: it has no {name}.")


def test_a_zip_archive_of_something_else_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "photos.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cat.jpg", b"cat")
    assert "Received: cat.jpg. Save the model with model.save('name.keras')." in complaint(path)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("/etc/passwd", "has an absolute path"),
        ("C:/windows", "has an absolute path"),
        ("assets\\..\\x", "has an absolute path"),
        ("assets/../../x", "leads out of the archive"),
        ("payload.pkl", "is not part of a Keras model"),
    ],
)
def test_an_odd_member_is_refused(name: str, fault: str, repack: Repack) -> None:
    message = complaint(repack({name: b"x"}))
    assert message == f"the zip member {name!r} {fault}, which Keras never writes. Save the model again."


def test_an_asset_passes(repack: Repack) -> None:
    check(repack({"assets/note.txt": b"x"}))


def test_a_member_that_appears_twice_is_refused(repack: Repack) -> None:
    path = repack({})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("config.json", "{}")
    assert "the zip member 'config.json' appears more than once" in complaint(path)


def test_an_encrypted_member_is_refused(repack: Repack) -> None:
    assert "'config.json' is encrypted" in complaint(with_flag(repack({}), "config.json", 0x1))


def test_a_symbolic_link_is_refused(repack: Repack) -> None:
    path = repack({})
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    assert "'assets/link' is a symbolic link" in complaint(path)


def test_a_compressed_model_passes(repack: Repack) -> None:
    check(repack({}, compression=zipfile.ZIP_DEFLATED))


def test_a_zip_bomb_is_refused(repack: Repack) -> None:
    path = repack({"config.json": b" " * (8 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "to 8,388,608 bytes, which Keras never writes" in complaint(path)


def test_a_bomb_of_many_small_members_is_refused(repack: Repack) -> None:
    members = {f"assets/{i}": b" " * (1 << 20) for i in range(8)}
    message = complaint(repack(members, compression=zipfile.ZIP_DEFLATED))
    assert message.startswith("the zip archive unpacks from ")
    assert "which no Keras model does" in message


def test_a_flipped_bit_in_the_weights_is_noticed(plain: Path, tmp_path: Path) -> None:
    data = bytearray(plain.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.keras"
    path.write_bytes(data)
    assert complaint(path).startswith("the zip archive is damaged or truncated. Received: Bad CRC-32")


def test_a_member_whose_packing_is_damaged_is_unreadable(repack: Repack) -> None:
    path = repack({}, compression=zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    start = data.index(b"metadata.json") + len("metadata.json")
    data[start + 4 : start + 60] = b"\xff" * 56
    path.write_bytes(data)
    assert complaint(path).startswith("the zip archive is damaged or truncated. Received: ")
