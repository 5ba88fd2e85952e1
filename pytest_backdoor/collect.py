"""A model file becomes one pytest item, ``models/lenet.keras::backdoor``."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from pytest_backdoor import options as option
from pytest_backdoor.errors import BackdoorError, BackdoorFound
from pytest_backdoor.report.words import path_from, visible

ITEM = "backdoor"
SYNTAX = ("::", "[")  # in a path given to pytest
SETTINGS = {  # flags of pytest by the names of their values
    "inifilename": "--config-file",
    "rootdir": "--rootdir",
    "importmode": "--import-mode",
    "override_ini": "--override-ini",
}
USUAL = "--import-mode=prepend"


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
    flags = [*["--backdoor-scan"] * scanning, *option.flags(options, under=under), *_settings(item.config)]
    return shlex.join(["pytest", node_id, *flags])


def _settings(config: pytest.Config) -> list[str]:
    """The flags that say where pytest took its settings from and how it imports, but for those of ``addopts``."""
    given = {flag: getattr(config.option, name) or [] for name, flag in SETTINGS.items()}
    pairs = ((flag, text) for flag, texts in given.items() for text in ([texts] if isinstance(texts, str) else texts))
    flags = (f"{flag}={text}" for flag, text in pairs)
    return [each for each in flags if each not in (USUAL, *config.getini("addopts"))]


class ModelFile(pytest.File):
    """One file that should hold a Keras model."""

    @classmethod
    def from_parent(cls, parent: Any, *, path: Path, **more: Any) -> Self:  # type: ignore[override]
        """The file, whose name is a keyword of its item, which xdist sends as UTF-8."""
        made: Self = super().from_parent(parent, path=path, name=visible(path.name), **more)
        return made

    def collect(self) -> Iterator[pytest.Item]:
        """The one item of the file."""
        # Of a file outside its root folder pytest takes the name alone, which several files may have.
        file = self.nodeid if self.path.is_relative_to(self.config.rootpath) else self.path
        # pytest prints a node id as it is, so a file name that would command the terminal is written out in it.
        yield ModelItem.from_parent(self, name=ITEM, nodeid=visible(f"{file}::{ITEM}"))

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
