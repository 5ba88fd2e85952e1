"""What the console script runs in: nothing from the environment and nothing from the current folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

STDERR = 2
ENVIRONMENT = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")


def load_quietly() -> None:
    """Loads Keras without what its backend prints of the machine while it starts; what goes wrong is raised."""
    sys.stderr.flush()
    kept, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)  # the file itself: the backend is no Python
    try:
        import keras  # noqa: F401 - for those that import it next
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
        os.close(nowhere)


def all_written() -> bool:
    """Whether all that was printed found its way out; where it did not, what is left goes nowhere."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and not _flushed(stream)]
    for stream in gone:  # Python would end with 120 when it tries again
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return not gone


def _flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def coloured() -> bool:
    """Whether standard output is a terminal that shows colours, and nobody asked for none."""
    if sys.stdout is None or not sys.stdout.isatty():  # none where it was closed
        return False
    return os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Neither environment nor current folder brings plugins, options or modules into the run."""
    kept = {name: os.environ.pop(name) for name in ENVIRONMENT if name in os.environ}
    path = sys.path.copy()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path[:] = [entry for entry in path if entry]  # "" is the current folder
    try:
        yield
    finally:
        sys.path[:] = path
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update(kept)
