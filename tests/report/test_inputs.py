"""Adversarial inputs as files: what they are called, that they read back, and what is said when they cannot be."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_backdoor.report import inputs, save_inputs
from tests.report import samples

FOLDER = "lenet_0123456789ab_fedcba987654_step=0.1_constraint=box"


def test_the_folder_is_named_by_the_model_the_seeds_and_the_settings(tmp_path):
    run = save_inputs(samples.fuzz_run(), tmp_path)
    assert run.saved == f"{tmp_path.as_posix()}/{FOLDER}"
    names = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert names == ["0-cat_3_to_8_i2.png", "12_7_to_8_t1_i5.png", "results.json"]


def test_by_default_settings_the_folder_names_none():
    assert inputs.folder(samples.fuzz_run(changed=())) == "lenet_0123456789ab_fedcba987654"


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_picture_holds_the_values_in_eight_bits(tmp_path, channels, mode):
    shown = samples.inputs(channels)
    run = save_inputs(samples.fuzz_run(inputs=shown), tmp_path)
    with Image.open(f"{run.saved}/12_7_to_8_t1_i5.png") as picture:
        assert (picture.mode, picture.size) == (mode, (2, 2))
        stored = np.asarray(picture).reshape(2, 2, channels)
    assert np.abs(stored / 255 - shown.images[1]).max() <= 0.5 / 255 + 1e-6


def test_what_is_neither_grey_nor_colour_is_saved_as_it_is(tmp_path):
    shown = samples.inputs(2)
    run = save_inputs(samples.fuzz_run(inputs=shown), tmp_path)
    np.testing.assert_array_equal(np.load(f"{run.saved}/0-cat_3_to_8_i2.npy"), shown.images[0])


def test_the_metrics_lie_beside_and_name_the_files(tmp_path):
    run = save_inputs(samples.fuzz_run(), tmp_path)
    entry = json.loads((tmp_path / FOLDER / "results.json").read_text())
    assert (entry["schema"], entry["adversarial"], entry["activation"]) == (1, 2, 0.5)
    assert entry["settings"] == {"step": 0.1, "constraint": "box"}
    assert entry["files"] == ["0-cat_3_to_8_i2.png", "12_7_to_8_t1_i5.png"]
    assert entry["saved"] == run.saved


def test_without_adversarial_inputs_the_metrics_are_saved_alone(tmp_path):
    shown = samples.inputs()
    nothing = replace(shown, seeds=(), images=shown.images[:0])
    run = save_inputs(samples.fuzz_run(inputs=nothing, adversarial=0), tmp_path)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["results.json"]
    assert run.error is None


def test_the_same_run_replaces_its_files_and_another_one_leaves_them(tmp_path):
    save_inputs(samples.fuzz_run(), tmp_path)
    save_inputs(samples.fuzz_run(seconds=9.0), tmp_path)
    for change in ({"sha256": "b" * 64}, {"seeds_sha256": "b" * 64}, {"changed": ("step=0.2",)}, {"path": "other.h5"}):
        save_inputs(samples.fuzz_run(**change), tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    assert json.loads((tmp_path / FOLDER / "results.json").read_text())["seconds"] == 9.0


def test_what_was_not_run_is_not_saved(tmp_path):
    run = samples.fuzz_run(inputs=None, error="no seeds")
    assert save_inputs(run, tmp_path) == run
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    run = save_inputs(samples.fuzz_run(), tmp_path / "file")
    assert run.saved is None
    assert run.error.startswith(f"inputs not saved: {tmp_path}/file/{FOLDER}/0-cat_3_to_8_i2.png: ")


def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(image, path, **options):
        path.write_bytes(b"part of a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    run = save_inputs(samples.fuzz_run(), tmp_path)
    assert run.error.endswith("/0-cat_3_to_8_i2.png: No space left on device")
    assert list((tmp_path / FOLDER).iterdir()) == []


@given(st.text(max_size=300))
def test_a_name_is_one_that_every_file_system_takes(text):
    assert re.fullmatch(r"[A-Za-z0-9._+=-]{0,100}", inputs.safe(text))


def test_long_names_that_differ_stay_different():
    assert inputs.safe("a" * 100) == "a" * 100
    assert inputs.safe("a" * 200) != inputs.safe("a" * 201)
