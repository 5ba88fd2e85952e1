"""What a user may write for an option: text or a Python value in, the checked value out, or OptionError."""

from __future__ import annotations

import difflib
import math
import os
import re
import reprlib
import stat
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_backdoor.errors import OptionError

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
DURATION = re.compile(r"(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m)?(?:(?P<s>[\d.]+)s?)?", re.ASCII)
SIZES = {"g": 2**30, "m": 2**20, "k": 2**10, "": 1}
SIZE = re.compile(r"(?P<count>[\d.]+)(?P<unit>[gmk]?)b?", re.ASCII)
WHOLE = re.compile(r"\d{1,300}", re.ASCII)  # Python itself reads no more than some thousand digits
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
SETTING = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def pick(value: Any, choices: Iterable[str], what: str) -> str:
    """The value, which must be one of the choices; the error names the nearest one."""
    choices = sorted(choices)
    if value in choices:
        return str(value)
    near = "".join(f" Did you mean {match!r}?" for match in difflib.get_close_matches(str(value), choices, 1))
    raise OptionError(f"unknown {what} {value!r}.{near} Choose from: {', '.join(choices)}.")


def choice(what: str, *choices: str) -> Callable[[Any], str]:
    """A reader that takes one of the choices."""
    return lambda value: pick(value, choices, what)


def number(low: float, high: float, closed: bool) -> Callable[[Any], float]:
    """A reader that takes a number from low to high, with or without the two ends."""

    def read(value: Any) -> float:
        found = _float(value)
        if found is not None and (low < found < high or (closed and found in (low, high))):
            return found
        ends = "" if closed else ", both excluded"
        raise OptionError(f"expected a number from {low:g} to {high:g}{ends}, got {value!r}.")

    return read


def whole(value: Any) -> int:
    """A whole number, zero or above."""
    if not isinstance(value, bool) and isinstance(value, int | str) and WHOLE.fullmatch(str(value)):
        return int(value)
    raise OptionError(f"expected a whole number from 0 up, got {value!r}.")


def switch(value: Any) -> bool:
    """True or False."""
    if isinstance(value, bool):
        return value
    raise OptionError(f"expected true or false, got {value!r}.")


def duration(value: Any) -> float | None:
    """Seconds, from a number of them or from text such as 90s, 10m or 1h30m; None is no limit."""
    if value is None:
        return None
    seconds = _clock(value) if isinstance(value, str) else _float(value)
    if seconds is not None and 0 < seconds < math.inf:
        return seconds
    raise OptionError(f"expected a time above zero such as 90s, 10m or 1h, got {value!r}.")


def duration_text(seconds: float | None) -> list[str]:
    """The shortest text that ``duration`` reads back to the same seconds."""
    if seconds is None:
        return []
    unit = next(unit for unit, length in UNITS.items() if unit == "s" or seconds % length == 0)
    count = seconds / UNITS[unit]
    plain = f"{Decimal(repr(count)):f}"  # an exponent is not part of the syntax
    return [plain.removesuffix(".0") + unit]


def size(value: Any) -> int:
    """Bytes, from a whole number of them or from text such as 2g, 1.5g or 512m, in powers of 1024."""
    match = SIZE.fullmatch(str(value).strip().lower()) if isinstance(value, int | str) else None
    count = _float(match["count"]) if match else None
    if match and count is not None and (found := Decimal(match["count"]) * SIZES[match["unit"]]) >= 1:
        return int(found)
    raise OptionError(f"expected a size of memory such as 2g or 512m, got {value!r}.")


def size_text(count: int) -> list[str]:
    """The shortest text that ``size`` reads back to the same bytes."""
    unit = next(unit for unit, length in SIZES.items() if count % length == 0)
    return [f"{count // SIZES[unit]}{unit}"]


def path(value: Any) -> Path | None:
    """A path with ``~`` expanded, or None."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and str(value):
        return _expanded(value)
    raise OptionError(f"expected a path, got {reprlib.repr(value)}.")


def some_path(value: Any) -> Path:
    """A path with ``~`` expanded."""
    found = path(value)
    if found is None:
        raise OptionError("expected a path, got None.")
    return found


def other_than_file(path: str | os.PathLike[str]) -> str:
    """What a path is that is no file, which to open could take for ever; empty for a file, and where nothing is."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a null byte
        return ""
    return "" if kind == stat.S_IFREG else KINDS.get(kind, "a device")


def seeds_names(model: Path) -> tuple[Path, Path]:
    """Where seeds are looked for beside a model's file: first its own, then those of its folder."""
    return model.parent / f"{model.stem}.seeds.npz", model.parent / "seeds.npz"  # a folder such as . has no name


def output(target: Path | None, *inputs: Path | str | None) -> None:
    """Raises OptionError for a file to write that is one of the files to read, or seeds beside one."""
    if target is not None and target.exists():
        for given in filter(None, map(path, inputs)):
            read = (given, *seeds_names(given)) if given.is_file() else (given,)
            if any(each.exists() and target.samefile(each) for each in read):
                raise OptionError(f"{target} is to be read, and stays as it is. Give the name of a new file.")


def writable(target: Path, where: str) -> None:
    """Raises OptionError, which names where it was given, for a file that cannot be written; missing folders can be."""
    place = next(each for each in (target.absolute(), *target.absolute().parents) if each.exists())
    if (place != target.absolute() and not place.is_dir()) or not os.access(place, os.W_OK):
        raise OptionError(f"{where}: nothing can be written in {place}. Give the name of a file elsewhere.")


def settings(value: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of key and value from KEY=VALUE texts, pairs or a mapping; the last of a key counts."""
    given = value.items() if isinstance(value, Mapping) else _listed(value)
    return tuple(dict(_setting(entry) for entry in given).items())


def reports(value: Any) -> tuple[tuple[str, Path], ...]:
    """Pairs of format and path from FORMAT:PATH texts or pairs."""
    return tuple(_report(entry) for entry in _listed(value))


def _expanded(value: str | os.PathLike[str]) -> Path:
    return Path(os.path.expanduser(value))  # pathlib's own raises for a user that is not there


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(found) else found


def _clock(text: str) -> float | None:
    """Seconds of a text such as 1h30m, or None when it is not one."""
    match = DURATION.fullmatch(text.strip().lower())
    parts = {unit: _float(count) for unit, count in match.groupdict().items() if count} if match else {}
    counts = [(UNITS[unit], count) for unit, count in parts.items()]
    if not counts or any(count is None for _, count in counts):
        return None
    return sum(length * count for length, count in counts if count is not None)


def _listed(value: Any) -> Iterable[Any]:
    """The entries of a repeatable option; a lone text is one entry."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return value
    raise OptionError(f"expected a list of texts, got {value!r}.")


def _setting(entry: Any) -> tuple[str, str]:
    key, given, value = _halves(entry, "=")
    if given and SETTING.fullmatch(key) and value:
        return key, value
    raise OptionError(f"expected KEY=VALUE such as search.steps=300, got {entry!r}.")


def _report(entry: Any) -> tuple[str, Path]:
    name, given, target = _halves(entry, ":")
    if given and name and target:
        return name, _expanded(target)
    raise OptionError(f"expected FORMAT:PATH such as json:report.json, got {entry!r}.")


def _halves(entry: Any, mark: str) -> tuple[str, str, str]:
    """Both sides of the first mark in a text; a pair is taken as it is."""
    if isinstance(entry, tuple | list) and len(entry) == 2:
        return str(entry[0]), mark, str(entry[1])
    left, given, right = str(entry).partition(mark)
    return left.strip(), given, right.strip()
