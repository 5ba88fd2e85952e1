"""Loading an .h5 file in a process of its own first: what takes far too much there is never loaded here."""

import json

import h5py
import pytest

from pytest_backdoor.errors import UnreadableModelError
from pytest_backdoor.loading import keras_file, rehearsal
from pytest_backdoor.loading.safety import check


@pytest.fixture
def greedy(tmp_path):
    """A small .h5 file whose dense layer would have 3.6 billion weights: its input says 20,000 pixels a side."""
    import keras
    from keras import layers

    path = tmp_path / "greedy.h5"
    keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(3)]).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 20_000, 20_000, 3]
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.skipif(not rehearsal.taken(1), reason="the limit needs Linux")
def test_a_file_whose_loading_takes_far_more_memory_than_it_has_is_unreadable(greedy, monkeypatch):
    check(greedy)  # nothing in the file shows it
    monkeypatch.setattr(rehearsal, "MEMORY", 1 << 30)
    with pytest.raises(
        UnreadableModelError, match=r"greedy.h5: Keras took 1\.\d GiB of memory and more when it loaded"
    ):
        keras_file.load(greedy)


def test_a_file_that_hangs_keras_is_unreadable(plain, monkeypatch):
    monkeypatch.setattr(rehearsal, "CODE", "import time; time.sleep(60)")
    monkeypatch.setattr(rehearsal, "SECONDS", 0.2)
    with pytest.raises(UnreadableModelError, match=r"plain.h5: Keras was not done after 0 s when it loaded the model"):
        keras_file.load(plain.with_suffix(".h5"))


def test_a_file_that_crashes_keras_is_unreadable(plain, monkeypatch):
    monkeypatch.setattr(rehearsal, "CODE", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    with pytest.raises(UnreadableModelError, match=r"plain.h5: Keras ended with exit code -6 when it loaded the model"):
        keras_file.load(plain.with_suffix(".h5"))


def test_what_keras_cannot_load_is_said_by_keras_itself(tmp_path, plain):
    path = tmp_path / "bad.h5"
    path.write_bytes(plain.with_suffix(".h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"filters": 4', '"filters": 5')
    with pytest.raises(UnreadableModelError, match=r"Keras \S+ cannot load the model"):
        keras_file.load(path)


def test_a_keras_file_which_states_its_shapes_is_loaded_at_once(plain, monkeypatch):
    monkeypatch.setattr(rehearsal, "CODE", "raise SystemExit(3)")
    assert keras_file.load(plain).output_shape == (None, 3)


def test_of_a_process_that_is_gone_no_memory_is_known():
    assert rehearsal.taken(-1) == 0
