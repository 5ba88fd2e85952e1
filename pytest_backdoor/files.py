"""Which files hold a model that can be scanned, and which hold one in another form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from pytest_backdoor import values
from pytest_backdoor.errors import OptionError

PATTERNS = ("*.keras", "*.h5", "*.hdf5")
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # what a virtual environment has
WEIGHTS_ONLY = "*.weights.h5"
UNPACKED_WEIGHTS = "model.weights.h5"
PYTORCH = "by its name a model of PyTorch"
OTHER_FORMS = {
    WEIGHTS_ONLY: "weights without a model",
    "*.safetensors": "weights without a model",
    "saved_model.pb": "a SavedModel, which model.export wrote",
    "orbax.checkpoint": "a checkpoint of Orbax",
    "*.tflite": "a model of TensorFlow Lite",
    "*.onnx": "a model of ONNX",
    "*.pt": PYTORCH,
    "*.pth": PYTORCH,
}
CACHE = "__pycache__"


@dataclass(slots=True)
class Found:
    """The model files under some paths, what was left out, and what could not be read."""

    files: dict[Path, None] = field(default_factory=dict)  # a set in order
    others: dict[Path, str] = field(default_factory=dict)  # in another form, and in which
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_model_file(path: Path) -> bool:
    """Whether the name is that of a model that Keras saves whole."""
    name = Path(path.name.lower())
    return any(name.match(pattern) for pattern in PATTERNS) and not other_form(path)


def other_form(path: Path) -> str:
    """What a file holds in place of a whole Keras model, by its name; empty where the name says nothing of that."""
    name = Path(path.name.lower())
    return next((form for pattern, form in OTHER_FORMS.items() if name.match(pattern)), "")


def other_notes(files: Mapping[Path, str]) -> list[str]:
    """What a run says of such files and their forms; of one form in one folder the first is named."""
    alike: dict[tuple[Path, str], list[Path]] = {}
    for path, form in files.items():
        alike.setdefault((path.parent, form), []).append(path)
    return [_other_note(paths[0], len(paths) - 1, form) for (_, form), paths in alike.items()]


def _other_note(path: Path, others: int, form: str) -> str:
    more = f" and {others} more beside it" if others else ""
    return f"not scanned: {path}{more}, {form}. Save the model as .keras to have it scanned"


def is_unpacked(weights: Path) -> bool:
    """Whether a file of weights lies in an unpacked .keras, a folder that Keras loads too."""
    return weights.name == UNPACKED_WEIGHTS and weights.with_name("config.json").is_file()


def unpacked_note(folder: str | Path) -> str:
    """What a run says of an unpacked .keras: a gate must not open without it."""
    return f"not scanned: {folder}, an unpacked Keras model. Zip what is in it to a .keras file to have it scanned"


def bare_note(folder: str | Path, more: str = "") -> str:
    """What a run says of a folder that holds nothing to scan, where a gate must not open without it."""
    wanted = f"no model files ({', '.join(PATTERNS)}){more}"
    return f"nothing to scan in {folder}: it holds {wanted}. Put the models there, or leave it out"


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


def folder_note(folder: Path) -> str:
    """What to say of a folder that is given as a model."""
    if is_unpacked(folder / UNPACKED_WEIGHTS):
        return unpacked_note(folder)
    return bare_note(folder) if is_bare(folder, ()) else f"{folder} is a folder. Give the path of a model file in it"


def models_in(folder: Path) -> list[Path]:
    """The models in a folder and its sub-folders, sorted, unpacked ones too; the folder itself where there are none."""
    found = (path.parent if is_unpacked(path) else path for path in files_in(folder) if _is_model(path))
    return sorted(found) or [folder]


def _is_model(path: Path) -> bool:
    return is_model_file(path) or is_unpacked(path)


def is_bare(folder: Path, tests: Sequence[str]) -> bool:
    """Whether the folder and its sub-folders hold no model file and no file of tests, by these patterns."""
    return not any(is_model_file(path) or any(map(path.match, tests)) for path in files_in(folder))


def other_files(folders: Iterable[Path]) -> dict[Path, str]:
    """The files in folders and their sub-folders that hold a model in another form, but for virtual environments."""
    forms = ((path, other_form(path), folder) for folder in folders for path in sorted(files_in(folder)))
    return {path: form for path, form, folder in forms if form and path.is_file() and not _is_foreign(path, folder)}


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


def find(paths: Sequence[Path]) -> Found:
    """The model files among the paths and in every folder under them; raises OptionError for a path that is not.

    A folder without any is a problem, unless there are none at all.
    """
    parts = {path: _found(path) for path in paths}
    found = Found()
    for part in parts.values():
        found.files |= part.files
        found.others |= part.others
        found.notes += part.notes
        found.problems += part.problems
    found.notes += other_notes(found.others)
    if found.files:
        bare = (path for path, part in parts.items() if path.is_dir() and not part.files and not part.problems)
        found.problems += [bare_note(path) for path in bare]
    return found


def _found(path: Path) -> Found:
    found = Found()
    if path.is_dir():
        _walk(path.resolve(), found)
    elif path.is_file():
        _add(path.parent.resolve() / path.name, found, named=True)
    else:
        other = values.other_than_file(path)
        raise OptionError(f"{path} is {other}, not a file" if other else f"no such file or folder: {path}")
    return found


def _walk(folder: Path, found: Found) -> None:
    def unread(problem: OSError) -> None:
        found.problems.append(f"folder not read: {problem.filename}: {problem.strerror}")

    for parent, folders, names in os.walk(folder, onerror=unread):  # links to folders are not followed
        folders.sort()
        links = (Path(parent, name) for name in folders)
        found.notes += [f"link to a folder, not followed: {link}" for link in links if link.is_symlink()]
        for name in sorted(names):
            _add(Path(parent, name), found, named=False)


def _add(path: Path, found: Found, named: bool) -> None:
    """Adds a model file; a file that the user named, or that only looks like a model, is noted instead."""
    if is_unpacked(path):
        found.problems.append(unpacked_note(path.parent))
    elif form := other_form(path):
        found.others[path] = form
    elif not is_model_file(path):
        found.notes += [f"not a model file by its name: {path}"] if named else []
    elif path.is_file():
        found.files[path] = None
    else:
        found.problems.append(f"not a regular file: {path}")  # a pipe, or a link to nothing
