"""Reading a model file in a process of its own: what kills or stops that process ends in an error here."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_backdoor import BackdoorFound, assert_safe_to_load
from pytest_backdoor.errors import UnreadableModelError
from pytest_backdoor.loading import keras_file, probe


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_file_passes(plain, suffix):
    probe.check(plain.with_suffix(suffix))
    probe.read(plain.with_suffix(suffix))


def test_a_file_that_crashes_its_reader_is_unreadable(plain, monkeypatch):
    monkeypatch.setattr(probe, "CODE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(UnreadableModelError, match=r"plain.keras: the HDF5 library crashed .* exit code -11"):
        keras_file.load(plain)
    with pytest.raises(BackdoorFound, match="the HDF5 library crashed"):
        assert_safe_to_load(plain)


def test_a_file_that_hangs_its_reader_is_unreadable(plain, monkeypatch):
    monkeypatch.setattr(probe, "CODE", "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    with pytest.raises(UnreadableModelError, match=r"plain.keras: the HDF5 library had not read the file after 0 s"):
        keras_file.load(plain)


def test_what_is_no_model_ends_the_reading_and_is_said_by_the_static_check(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"no model")
    probe.read(tmp_path / "x.h5")
    with pytest.raises(UnreadableModelError, match=r"a \.h5 file is an HDF5 file, but this one is not"):
        probe.check(tmp_path / "x.h5")


def test_what_is_no_file_is_left_to_the_static_check(tmp_path):
    with pytest.raises(UnreadableModelError, match="No such file"):
        probe.check(tmp_path / "absent.keras")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit needs Linux")
@pytest.mark.parametrize(("share", "ends"), [(100, "read"), (0.5, "MemoryError")])
def test_reading_ends_where_it_takes_far_more_memory_than_the_file_has(tmp_path, share, ends):
    (tmp_path / "x.h5").write_bytes(b"")
    code = (
        "from pathlib import Path; from pytest_backdoor.loading import probe; probe.limit_memory(Path('x.h5'));"
        f" bytes(int(probe.MEMORY / {share})); print('read')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ends in (done.stdout + done.stderr)
