"""Lets Keras load a file in a process of its own first, where the file does not show what memory that will take."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from pytest_backdoor.errors import UnreadableModelError
from pytest_backdoor.loading.probe import BYTES_PER_SECOND, EXPANSION

SECONDS = 120.0  # that starting Keras and loading a small file may take
MEMORY = 2 << 30  # bytes that Keras and a small model may take
PAUSE = 0.05  # seconds between two looks
CODE = """
import sys; sys.path[:] = sys.argv[2:]
import os
try:
    import keras
    keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
finally:  # the same error comes again in the process that asks
    os._exit(0)
"""


def check(path: Path) -> None:
    """Raises UnreadableModelError where loading the file takes far more memory or time than it could need."""
    size = path.stat().st_size
    seconds, memory = SECONDS + size / BYTES_PER_SECOND, MEMORY + EXPANSION * size
    command = [sys.executable, "-I", "-c", CODE, str(path), *filter(None, sys.path)]
    quiet = subprocess.DEVNULL
    alone = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}  # the memory of an accelerator is for the scan
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=alone) as process:
        try:
            fault = _fault(process, seconds, memory)
        finally:
            process.kill()
    if fault:
        raise UnreadableModelError(
            f"{path}: Keras {fault} when it loaded the model in a process of its own. The file is damaged, or made to"
            " stop its reader. Download or save the model again."
        )


def _fault(process: subprocess.Popen[bytes], seconds: float, memory: int) -> str:
    """How the process failed, of which there is nothing to say where it ended as it should."""
    end = time.monotonic() + seconds
    while process.poll() is None:
        if (held := taken(process.pid)) > memory:
            return f"took {held / 2**30:.1f} GiB of memory and more"
        if time.monotonic() > end:
            return f"was not done after {seconds:.0f} s"
        time.sleep(PAUSE)
    return f"ended with exit code {process.returncode}" if process.returncode else ""


def taken(process: int) -> int:
    """Bytes of memory that a process holds; 0 on systems that do not say."""
    with contextlib.suppress(OSError, IndexError, ValueError, ImportError):
        import resource

        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
