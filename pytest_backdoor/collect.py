"""A model file becomes one pytest item, ``models/lenet.keras::backdoor``."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

import pytest

from pytest_backdoor import options as option
from pytest_backdoor.errors import BackdoorError, BackdoorFound
from pytest_backdoor.report.words import path_from, visible

PATTERNS = ("*.keras", "*.h5", "*.hdf5")
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # what a virtual environment has
WEIGHTS_ONLY = "*.weights.h5"
UNPACKED_WEIGHTS = "model.weights.h5"
OTHER_FORMS = {WEIGHTS_ONLY: "weights without a model", "saved_model.pb": "a SavedModel, which model.export wrote"}
ITEM = "backdoor"
CACHE = "__pycache__"
SYNTAX = ("::", "[")  # in a path given to pytest


def is_model_file(path: Path) -> bool:
    """Whether the name is that of a model that Keras saves whole."""
    name = Path(path.name.lower())
    return any(name.match(pattern) for pattern in PATTERNS) and not other_form(path)


def other_form(path: Path) -> str:
    """What a file holds in place of a whole Keras model, by its name; empty where the name says nothing of that."""
    name = Path(path.name.lower())
    return next((form for pattern, form in OTHER_FORMS.items() if name.match(pattern)), "")


def other_note(path: str | Path, form: str) -> str:
    """What a run says of such a file."""
    return f"not scanned: {path}, {form}. Save the model as .keras to have it scanned"


def is_unpacked(weights: Path) -> bool:
    """Whether a file of weights lies in an unpacked .keras, a folder that Keras loads too."""
    return weights.name == UNPACKED_WEIGHTS and weights.with_name("config.json").is_file()


def unpacked_note(folder: str | Path) -> str:
    """What a run says of an unpacked .keras: a gate must not open without it."""
    return f"not scanned: {folder}, an unpacked Keras model. Zip what is in it to a .keras file to have it scanned"


def files_in(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All that is no folder in a folder and its sub-folders, behind links too, as pytest goes, but never in circles."""
    above = (*above, folder.resolve())
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # pytest says so
        return
    for path in entries:
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:
            yield from files_in(path, above)


def model_files(folder: Path) -> list[Path]:
    """The model files in a folder and its sub-folders, sorted."""
    return sorted(path for path in files_in(folder) if is_model_file(path) and path.is_file())


def is_bare(folder: Path, tests: Sequence[str]) -> bool:
    """Whether the folder and its sub-folders hold no model file and no file of tests, by these patterns."""
    return not any(is_model_file(path) or any(map(path.match, tests)) for path in files_in(folder))


def other_files(folder: Path) -> dict[Path, str]:
    """The files in a folder and its sub-folders that hold a model in another form, but for virtual environments."""
    forms = ((path, other_form(path)) for path in sorted(files_in(folder)))
    return {path: form for path, form in forms if form and path.is_file() and not _is_foreign(path, folder)}


def passed_over(folder: Path, patterns: Sequence[str]) -> dict[Path, str]:
    """The model files under a folder that pytest leaves out, and why.

    A folder of theirs is among ``norecursedirs``, or they are links to nothing, pipes and the like. Those of virtual
    environments are somebody else's.
    """
    models = sorted(path for path in files_in(folder) if is_model_file(path) and not _is_foreign(path, folder))
    reasons = ((path, _left_out(path, folder, patterns)) for path in models)
    return {path: reason for path, reason in reasons if reason}


def _left_out(path: Path, folder: Path, patterns: Sequence[str]) -> str:
    parents = _between(path, folder)
    if any(parent.name == CACHE for parent in parents):
        return f"in {CACHE}, which pytest always leaves out. Move it"
    if any(_matches(parent, pattern) for parent in parents for pattern in patterns):
        return "in a folder that pytest leaves out. With -o norecursedirs= it is scanned too"
    return "" if path.is_file() else "not a regular file"


def _matches(folder: Path, pattern: str) -> bool:
    """Whether pytest takes the folder for one of the pattern: by its name, or by its path if the pattern is a path."""
    if os.sep not in pattern:
        return fnmatch(folder.name, pattern)
    return fnmatch(str(folder), pattern if os.path.isabs(pattern) else f"*{os.sep}{pattern}")


def _is_foreign(file: Path, folder: Path) -> bool:
    """Whether the file is part of a virtual environment in the folder."""
    return any((parent / marker).exists() for parent in _between(file, folder) for marker in ENVIRONMENT)


def _between(file: Path, folder: Path) -> list[Path]:
    """The sub-folders of the folder that the file lies in."""
    return [folder / parent for parent in file.relative_to(folder).parents[:-1]]


def is_hardened(config: pytest.Config) -> bool:
    """Whether this is ``pytest-backdoor scan``, which alone runs pytest without its Python collector."""
    return not config.pluginmanager.hasplugin("python")


def model_of(node_id: str, config: pytest.Config) -> str:
    """The model file of an item by its node id, as the user would type it."""
    path = config.rootpath / node_id.removesuffix(f"::{ITEM}")
    return path_from(config.invocation_params.dir, Path(os.path.normpath(path)))


def command(item: pytest.Item, options: option.Options, under: option.Options) -> str:
    """The command that repeats one item; under are the options that hold where there are no flags."""
    path = path_from(item.config.invocation_params.dir, item.path)
    scanning = isinstance(item, ModelItem)
    if is_hardened(item.config) or (scanning and any(each in path for each in SYNTAX)):
        return shlex.join(["pytest-backdoor", "scan", path, *option.flags(options, "--")])
    node_id = "::".join([path, *item.nodeid.split("::")[1:]])
    return shlex.join(["pytest", node_id, *["--backdoor-scan"] * scanning, *option.flags(options, under=under)])


class ModelFile(pytest.File):
    """One file that should hold a Keras model."""

    @classmethod
    def from_parent(cls, parent: Any, *, path: Path, **more: Any) -> Self:  # type: ignore[override]
        """The file, whose name is a keyword of its item, which xdist sends as UTF-8."""
        made: Self = super().from_parent(parent, path=path, name=visible(path.name), **more)
        return made

    def collect(self) -> Iterator[pytest.Item]:
        """The one item of the file."""
        # pytest prints a node id as it is, so a file name that would command the terminal is written out in it.
        yield ModelItem.from_parent(self, name=ITEM, nodeid=visible(f"{self.nodeid}::{ITEM}"))

    def __repr__(self) -> str:
        return visible(super().__repr__())


class ModelItem(pytest.Item):
    """The scan of one model file."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.add_marker("backdoor")

    @property
    def model_name(self) -> str:
        """The file as the user would type it."""
        return path_from(self.config.invocation_params.dir, self.path)

    def runtest(self) -> None:
        """Scans; anything but a clean verdict raises, unless the options let an inconclusive one pass."""
        from pytest_backdoor.assertions import examine, options_now, settle

        options = options_now({})
        try:
            settle(examine(self.path, None, options, name=self.model_name), options, self._warn)
        except pytest.skip.Exception as skipped:
            skipped._use_item_location = True  # pytest has no public way to say that the place is the item
            raise

    def _warn(self, warning: Warning) -> None:
        # in brackets, or pytest would show the first line of the model file as the source of the warning
        warnings.warn_explicit(warning, None, f"<{visible(self.model_name)}>", 1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report as plain text; pytest's traceback for what is not one of our reports."""
        if isinstance(excinfo.value, BackdoorFound | BackdoorError | Warning):  # a warning, under -W error
            return str(excinfo.value)
        excinfo.traceback = excinfo.traceback.cut(path=__file__)  # pytest's own frames help nobody
        return super().repr_failure(excinfo, style)

    def add_report_section(self, when: str, key: str, content: str) -> None:
        """Leaves out what frameworks print while they load: a scan prints nothing."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item is and what its failure is headed with."""
        # xdist sends it as UTF-8, which not every file name is; pytest asks for a line where an item is skipped
        return Path(visible(str(self.path))), 0, visible(self.model_name)
