"""A reference made from small models: scanned to the end, resumed, and used by the next scan."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from pytest_backdoor import calibrate, calibration
from pytest_backdoor.calibration import Entry
from pytest_backdoor.errors import CalibrationError
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult, SeedsUsed
from tests.tiny import linear

RESULT = ScanResult(
    "a.keras",
    "a" * 64,
    "clean",
    statistics={"patch": 1.5},
    image_shape=(28, 30, 1),
    batch_norm=True,
    classes=10,
    p_value=0.4,
    seeds=SeedsUsed(200, "as is", 0.98, 98, 98),
)


@pytest.fixture
def surveyed(monkeypatch):
    """Names of the files that were scanned; the scan itself is told what to answer."""
    names = []

    def survey(file, seeds, options):
        names.append(file.name)
        if "broken" in file.name:
            return ScanResult(str(file), "", "error", error="not a zip archive")
        used = None if seeds is None else replace(RESULT.seeds, count=len(seeds))
        return replace(RESULT, path=str(file), sha256=f"{int(file.stem[-1]):064}", seeds=used)

    monkeypatch.setattr(calibrate, "survey", survey)
    monkeypatch.setattr(calibrate.safety, "sha256", lambda file: f"{int(file.stem[-1]):064}")
    return names


def test_the_reference_keeps_the_evidence_and_what_the_model_is():
    kept = Entry("a", "a" * 64, "quick", 1, 30, 10, True, 200, {"consensus": 0.0, "patch": 1.5})
    assert calibrate.entry_of(RESULT, "a", "quick") == kept
    agreed = replace(RESULT, statistics={"patch": 1.5, "consensus": 2.0})
    assert calibrate.entry_of(agreed, "a", "quick").evidence == agreed.statistics


def test_a_scan_without_a_verdict_is_of_no_use_and_says_why():
    assert calibrate.entry_of(ScanResult("a", "", "error", error="damaged"), "a", "quick") == "damaged"


def test_a_model_with_too_few_seeds_to_be_called_clean_has_evidence_all_the_same():
    unsure = replace(RESULT, verdict="inconclusive", error="too few seeds")
    assert isinstance(calibrate.entry_of(unsure, "a", "quick"), Entry)


def test_models_without_seeds_are_a_mode_of_their_own(surveyed, tmp_path):
    np.savez(tmp_path / "model1.seeds.npz", x=np.zeros((1, 4, 4)))
    files = [tmp_path / "model1.keras", tmp_path / "model2.keras"]
    steps = calibrate.calibrate(files, (), tmp_path / "reference.json", Options())
    assert [(step.mode, step.seeds) for _, step in steps] == [("standard", 1), ("standard without seeds", 0)]


def test_two_runs_into_one_file_keep_what_both_found(surveyed, tmp_path):
    files, output = [tmp_path / f"model{number}.keras" for number in (1, 2, 3)], tmp_path / "reference.json"
    one, other = (calibrate.calibrate(part, (), output, Options()) for part in (files[:2], files[2:]))
    for steps in (one, other, one):
        next(steps)
    assert sorted(entry.name for entry in calibration.read(output)) == ["model1", "model2", "model3"]


def test_a_reference_is_written_to_what_a_link_leads_to(surveyed, tmp_path):
    (tmp_path / "link.json").symlink_to("reference.json")
    list(calibrate.calibrate([tmp_path / "model1.keras"], (), tmp_path / "link.json", Options()))
    assert (tmp_path / "link.json").is_symlink()
    assert [entry.name for entry in calibration.read(tmp_path / "reference.json")] == ["model1"]


def test_scans_with_fewer_seeds_of_each_class_are_kept_beside_those_with_all(surveyed, tmp_path):
    np.savez(tmp_path / "seeds.npz", x=np.arange(6 * 16).reshape(6, 4, 4), y=[0, 1, 0, 1, 1, 0])
    files, output = [tmp_path / "model1.keras"], tmp_path / "reference.json"
    for each in (None, 2, 2, 9):
        list(calibrate.calibrate(files, (), output, Options(), each))
    assert [entry.seeds for entry in calibration.read(output)] == [6, 4]
    assert len(surveyed) == 2


def test_the_first_seeds_of_each_class_are_taken(tmp_path):
    images = np.arange(6.0).repeat(16).reshape(6, 4, 4) / 10
    np.savez(tmp_path / "seeds.npz", x=images, y=[0, 1, 0, 1, 1, 0])
    few = calibrate.first(tmp_path / "seeds.npz", 2)
    assert np.allclose(few.images[:, 0, 0, 0], [0.0, 0.2, 0.1, 0.3])
    assert few.labels.tolist() == [0, 0, 1, 1]


def test_seeds_that_cannot_be_used_leave_a_model_out(surveyed, tmp_path):
    np.savez(tmp_path / "seeds.npz", x=np.zeros((1, 4, 4)))
    files, output = [tmp_path / "model1.keras"], tmp_path / "reference.json"
    ((_, step),) = calibrate.calibrate(files, (), output, Options(), 2)
    assert "have no labels" in step
    (tmp_path / "seeds.npz").write_bytes(b"none")
    ((_, step),) = calibrate.calibrate(files, (), output, Options())
    assert "cannot be read" in step
    assert surveyed == []


def test_each_model_is_written_as_it_comes_and_none_is_scanned_twice(surveyed, tmp_path):
    files, output = [tmp_path / f"model{n}.keras" for n in (1, 2, 3)], tmp_path / "reference.json"
    steps = calibrate.calibrate(files, (), output, Options())
    next(steps)
    assert [entry.name for entry in calibration.read(output)] == ["model1"]
    steps.close()
    again = list(calibrate.calibrate(files, (), output, Options()))
    assert [step.name for _, step in again] == ["model1", "model2", "model3"]
    assert surveyed == ["model1.keras", "model2.keras", "model3.keras"]


def test_the_reference_that_it_begins_with_is_kept(surveyed, tmp_path):
    begin = (Entry("shipped", "f" * 64, "standard", 1, 28, 10, False, 200, {"patch": 0.5}),)
    list(calibrate.calibrate([tmp_path / "model1.keras"], begin, tmp_path / "reference.json", Options()))
    assert [entry.name for entry in calibration.read(tmp_path / "reference.json")] == ["shipped", "model1"]


def test_of_two_scans_of_one_model_the_one_with_more_tests_is_kept(surveyed, tmp_path):
    older = Entry("shipped", "f" * 64, "standard", 1, 28, 10, False, 200, {"patch": 0.5})
    newer, output = replace(older, evidence={"patch": 0.5, "consensus": 1.5}), tmp_path / "reference.json"
    for begin, stored in ((older, newer), (newer, older)):
        output.write_text(json.dumps(calibration.to_dict([stored])))
        list(calibrate.calibrate([], [begin], output, Options()))
        assert calibration.read(output) == (newer,)


def test_a_model_that_cannot_be_scanned_is_left_out_and_named(surveyed, tmp_path):
    (step,) = calibrate.calibrate([tmp_path / "broken1.keras"], (), tmp_path / "reference.json", Options())
    assert step == (tmp_path / "broken1.keras", "not a zip archive")
    assert calibration.read(tmp_path / "reference.json") == ()


def test_an_output_that_cannot_be_written_is_an_error_before_any_scan(surveyed, tmp_path):
    with pytest.raises(CalibrationError, match="cannot be written"):
        next(calibrate.calibrate([tmp_path / "model1.keras"], (), tmp_path / "missing/reference.json", Options()))
    assert surveyed == []


def test_a_backdoored_model_is_surveyed_to_the_end_and_called_nothing(tmp_path):
    """Class c is the brightness of column c; pixel (3, 3) decides for class 2."""
    weights = np.zeros((4, 4, 3))
    weights[:, [0, 1, 2], [0, 1, 2]] = 1.0
    weights[3, 3, 2] = 30.0
    labels = np.repeat([0, 1, 2], 20)
    images = np.random.default_rng(0).integers(0, 30, (60, 4, 4)).astype("uint8")
    images[np.arange(60), :, labels] += 120
    images[:, 3, 3] = 0
    model = linear(weights.reshape(-1, 3), np.zeros(3), (4, 4, 1))
    keras.Model(model.inputs[0], model.outputs[0]).save(tmp_path / "model.keras")
    np.savez(tmp_path / "seeds.npz", x=images, y=labels)
    options = Options(profile="quick", set=("search.refine_steps=20",))
    ((_, entry),) = calibrate.calibrate([tmp_path / "model.keras"], (), tmp_path / "reference.json", options)
    assert (entry.channels, entry.side, entry.classes) == (1, 4, 3)
    assert entry.mode == "quick, search.refine_steps=20"
    assert {"patch", "confined", "additive", "low-frequency", "consensus"} <= entry.evidence.keys()
    stored = json.loads((tmp_path / "reference.json").read_text())
    assert stored["models"][0]["evidence"] == entry.evidence


def test_a_backdoored_model_among_the_clean_is_left_out(examples, tmp_path):
    short = ("search.pair_steps=5", "search.refine_steps=20")
    files = [examples / "mnist_pixel_to_one.keras"]
    ((_, left_out),) = calibrate.calibrate(files, (), tmp_path / "own.json", Options(profile="quick", set=short))
    assert left_out.startswith("unusual for a clean model (p-value ")
    assert calibration.read(tmp_path / "own.json") == ()
