"""Each option once: a field with its default and help; flag, ini key, marker argument and help text come from it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_backdoor import values
from pytest_backdoor.errors import OptionError

Profile = Literal["quick", "standard", "thorough"]
Inconclusive = Literal["fail", "skip", "warn"]
IniType = Literal["string", "float", "int", "bool", "args"]
PREFIX = "--backdoor-"
MEMORY = 4 * 2**30  # bytes
ONE_BUDGET = "time for all training and scans together, such as 90s, 10m or 1h (default: no limit)"
MAX_LOSS = 0.02  # held-out accuracy that a repair may cost


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known about one option besides its default."""

    help: str
    read: Callable[[Any], Any]  # raises OptionError
    metavar: str | None  # None: a flag without a value, which switches the option on
    ini: IniType = "string"
    write: Callable[[Any], list[str]] = lambda value: [] if value is None else [str(value)]  # one text per flag
    merge: Callable[[Any, Any], Any] = lambda under, over: over
    anchor: Callable[[Path, Any], Any] = lambda folder, value: value  # takes relative paths from that folder
    per_model: bool = True  # False: an option of the whole run, which no marker and no argument can set
    repeatable: bool = False


def _about(text: str, read: Callable[[Any], Any], metavar: str | None, **more: Any) -> dict[str, Setting]:
    return {"setting": Setting(text, read, metavar, **more)}


@dataclass(frozen=True, slots=True)
class Options:
    """How models are scanned; its values are checked when it is made, and OptionError says what is wrong."""

    seeds: Path | None = field(
        default=None,
        metadata=_about(
            "clean images: an .npz with x and optionally y, or a folder with one sub-folder per class"
            " (default: <model>.seeds.npz or seeds.npz beside the model)",
            values.path,
            "PATH",
            anchor=lambda folder, value: value and folder / value,
        ),
    )
    profile: Profile = field(
        default="standard",
        metadata=_about(
            "how hard to search: quick, standard or thorough (default: standard)",
            values.choice("profile", "quick", "standard", "thorough"),
            "NAME",
        ),
    )
    budget: float | None = field(
        default=None,
        metadata=_about(
            "time for each model, such as 90s, 10m or 1h; running out of it is inconclusive (default: no limit)",
            values.duration,
            "TIME",
            write=values.duration_text,
        ),
    )
    memory: int = field(
        default=MEMORY,
        metadata=_about(
            "memory that the images of one step may take, with what the network makes of them, such as 512m or 2g"
            " (default: 4g)",
            values.size,
            "SIZE",
            write=values.size_text,
        ),
    )
    alpha: float = field(
        default=0.01,
        metadata=_about(
            "rate of false alarms per clean model (default: 0.01)",
            values.number(0, 1, closed=False),
            "RATE",
            ini="float",
        ),
    )
    seed: int = field(
        default=0, metadata=_about("seed of every random choice (default: 0)", values.whole, "N", ini="int")
    )
    reference: Path | None = field(
        default=None,
        metadata=_about(
            "evidence of clean models to compare with, written by pytest-backdoor calibrate (default: what is shipped)",
            values.path,
            "PATH",
            anchor=lambda folder, value: value and folder / value,
        ),
    )
    min_accuracy: float = field(
        default=0.5,
        metadata=_about(
            "accuracy on labelled seeds under which model and seeds do not belong together (default: 0.5)",
            values.number(0, 1, closed=True),
            "SHARE",
            ini="float",
        ),
    )
    inconclusive: Inconclusive = field(
        default="fail",
        metadata=_about(
            "what to do with an inconclusive model: fail, skip or warn; an error fails always (default: fail)",
            values.choice("outcome", "fail", "skip", "warn"),
            "OUTCOME",
        ),
    )
    selftest: bool = field(
        default=False,
        metadata=_about(
            "after a clean verdict, plant known backdoors in copies of the model and report which are found"
            " (default: no)",
            values.switch,
            None,
            ini="bool",
        ),
    )
    exhaustive: bool = field(
        default=False,
        metadata=_about(
            "after a trigger to one class was found, go on with all searches for triggers to other classes"
            " (default: no)",
            values.switch,
            None,
            ini="bool",
        ),
    )
    folder: Path = field(
        default=Path(".backdoor"),
        metadata=_about(
            "where found triggers are saved (default: .backdoor)",
            values.some_path,
            "FOLDER",
            anchor=lambda folder, value: folder / value,
        ),
    )
    save_inputs: Path | None = field(
        default=None,
        metadata=_about(
            "after a scan, push the seeds along gradients and save the inputs that change the model's mind there"
            " (default: no)",
            values.path,
            "FOLDER",
            anchor=lambda folder, value: value and folder / value,
        ),
    )
    suspects: Path | None = field(
        default=None,
        metadata=_about(
            "suspicious images, an .npz with x or a folder: a region that makes the model take clean seeds for what it"
            " takes such an image for is confirmed like any trigger (default: none)",
            values.path,
            "PATH",
            anchor=lambda folder, value: value and folder / value,
        ),
    )
    set: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata=_about(
            "a setting of one search or check, such as search.steps=300; may be repeated",
            values.settings,
            "KEY=VALUE",
            ini="args",
            write=lambda pairs: [f"{key}={value}" for key, value in pairs],
            merge=lambda under, over: tuple((dict(under) | dict(over)).items()),
            repeatable=True,
        ),
    )
    report: tuple[tuple[str, Path], ...] = field(
        default=(),
        metadata=_about(
            "a report to write, such as json:report.json; may be repeated",
            values.reports,
            "FORMAT:PATH",
            ini="args",
            write=lambda pairs: [f"{name}:{path}" for name, path in pairs],
            anchor=lambda folder, pairs: tuple((name, folder / path) for name, path in pairs),
            per_model=False,
            repeatable=True,
        ),
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, _read(setting, getattr(self, name), name))


SETTINGS: Mapping[str, Setting] = {each.name: each.metadata["setting"] for each in dataclasses.fields(Options)}
PER_MODEL = tuple(name for name, setting in SETTINGS.items() if setting.per_model)


def flag(name: str, prefix: str = PREFIX) -> str:
    """The flag of the option: ``--backdoor-min-accuracy``."""
    return prefix + name.replace("_", "-")


def ini_key(name: str) -> str:
    """The ini key of the option, which is also its name in the parsed command line: ``backdoor_min_accuracy``."""
    return f"backdoor_{name}"


def layered(under: Options, given: Mapping[str, Any], where: Callable[[str], str], folder: Path = Path()) -> Options:
    """The options with the given ones over them; OptionError says where a wrong one was written.

    Relative paths among the given ones are taken from the folder.
    """
    changes = {}
    for name, value in given.items():
        setting = SETTINGS[name]
        read = setting.anchor(folder, _read(setting, value, where(name)))
        changes[name] = setting.merge(getattr(under, name), read)
    return dataclasses.replace(under, **changes)


def with_arguments(under: Options, arguments: Mapping[str, Any], where: str = "", folder: Path = Path()) -> Options:
    """The options with a call's or a marker's keyword arguments over them; raises OptionError for an unknown one."""
    prefix = where and f"{where}, "
    for name in arguments:
        _known(name, where)
    return layered(under, arguments, lambda name: prefix + name, folder)


def anchored(options: Options, folder: Path) -> Options:
    """The options with relative paths taken from the folder; unchanged while that is the current one."""
    with contextlib.suppress(FileNotFoundError):  # the current folder may be gone
        if Path.cwd() == folder:
            return options
    return dataclasses.replace(
        options, **{name: setting.anchor(folder, getattr(options, name)) for name, setting in SETTINGS.items()}
    )


def flags(options: Options, prefix: str = PREFIX, under: Options | None = None) -> list[str]:
    """The flags that repeat what differs from the defaults, or from what lies under the flags, without the reports."""
    usual = (Options(), under or Options())
    changed = (name for name in PER_MODEL if any(getattr(options, name) != getattr(each, name) for each in usual))
    return [text for name in changed for text in _as_flags(name, getattr(options, name), prefix)]


def describe(options: Options, prefix: str = PREFIX) -> str:
    """The same flags as one text for a shell."""
    return shlex.join(flags(options, prefix))


def to_dict(options: Options) -> dict[str, Any]:
    """The options as builtins, for the JSON report."""
    plain = {name: getattr(options, name) for name in PER_MODEL}
    paths = {name: str(value) for name, value in plain.items() if isinstance(value, Path)}
    return plain | paths | {"set": dict(options.set)}


def add_flags(
    add: Callable[..., Any], prefix: str = PREFIX, names: Iterable[str] = tuple(SETTINGS), **more: Any
) -> None:
    """Adds the options' flags through ``add``, an ``add_argument``.

    The parsed value is text, or True for a flag without a value, and None when not given.
    """
    for name in names:
        setting = SETTINGS[name]
        kind: dict[str, Any] = {"action": "append" if setting.repeatable else "store", "metavar": setting.metavar}
        if setting.metavar is None:
            kind = {"action": "store_true"}
        add(flag(name, prefix), dest=ini_key(name), **kind, **{"help": setting.help, "default": None} | more)


def parsed(namespace: argparse.Namespace) -> dict[str, Any]:
    """The options that were given as flags."""
    given = {name: getattr(namespace, ini_key(name), None) for name in SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def _as_flags(name: str, value: Any, prefix: str) -> list[str]:
    """The flags that set the option to the value, as far as flags can: they switch nothing off."""
    setting = SETTINGS[name]
    if setting.metavar is None:
        return [flag(name, prefix)] if value else []
    return [f"{flag(name, prefix)}={text}" for text in setting.write(value)]


def _known(name: str, where: str) -> None:
    try:
        values.pick(name, PER_MODEL, "option")
    except OptionError as problem:
        raise OptionError(f"{where}: {problem}" if where else str(problem)) from None


def _read(setting: Setting, value: Any, where: str) -> Any:
    try:
        return setting.read(value)
    except OptionError as problem:
        raise OptionError(f"{where}: {problem}") from None
