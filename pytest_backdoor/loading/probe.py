"""Reads a model file in a process of its own first: a crafted file can crash or hang the HDF5 library."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from pytest_backdoor.errors import UnreadableModelError

SECONDS = 60.0  # that reading a small file may take
BYTES_PER_SECOND = 20e6  # that may be read of a large one
MEMORY = 1 << 30  # bytes that reading a small file may take
EXPANSION = 20  # times its size that reading a large one may
CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; from pathlib import Path; from pytest_backdoor.loading import probe;"
    " probe.limit_memory(Path(sys.argv[1])); probe.read(Path(sys.argv[1]))"
)


def check(path: Path) -> None:
    """As ``safety.check``, once another process has read the whole file and lived; raises UnreadableModelError."""
    from pytest_backdoor.loading import safety

    if os.path.isfile(path):  # False for a path with a null byte, too
        _survive(path)
    safety.check(path)


def read(path: Path) -> None:
    """Reads all that the HDF5 library would read of a file that the static check lets pass; what fails ends it."""
    import h5py

    from pytest_backdoor.loading import archive, safety
    from pytest_backdoor.loading.hdf5_walk import objects

    try:
        safety.check(path)
        source = io.BytesIO(archive.read(path).weights) if path.suffix == ".keras" else path
        with h5py.File(source, "r") as file:
            for item in (file, *objects(file)):
                for name in item.attrs:
                    item.attrs[name]
                if isinstance(item, h5py.Dataset):
                    item[()]
    except MemoryError:
        raise
    except Exception:  # the same error comes again in the process that asks
        return


def limit_memory(path: Path) -> None:
    """Lets this process fail where reading the file takes far more memory than it could need."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # other systems have no such limit
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = taken + MEMORY + EXPANSION * path.stat().st_size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _survive(path: Path) -> None:
    limit = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    command = [sys.executable, "-I", "-c", CODE, str(path), *filter(None, sys.path)]
    try:
        done = subprocess.run(command, timeout=limit, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    except subprocess.TimeoutExpired:
        raise UnreadableModelError(
            f"{path}: the HDF5 library had not read the file after {limit:.0f} s. It is damaged, or made to hang its "
            "reader. Download or save the model again."
        ) from None
    if done.returncode:
        raise UnreadableModelError(
            f"{path}: the HDF5 library crashed when it read the file, or took far more memory than the file has. "
            f"Received: exit code {done.returncode}. It is damaged, or made to crash its reader. Download or save the "
            "model again."
        )
