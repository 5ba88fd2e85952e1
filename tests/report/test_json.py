"""The JSON document, and how reports and triggers reach the disk."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_backdoor.errors import OptionError
from pytest_backdoor.report import Run, check_formats, junit, save_triggers, write_reports
from pytest_backdoor.report.json import render
from pytest_backdoor.results import Evidence, from_dict
from tests.report import samples

RUN = Run(
    (samples.backdoor(samples.finding(path="t.npz")), samples.CLEAN),
    {"name": "pytest-backdoor", "version": "1.0"},
    {"alpha": 0.01},
    ("models/late.keras",),
)


def test_the_document_has_the_keys_of_schema_one():
    document = json.loads(render(RUN))
    assert list(document) == ["schema", "tool", "options", "models", "missing"]
    assert document["schema"] == 1
    assert document["tool"] == {"name": "pytest-backdoor", "version": "1.0"}
    assert document["missing"] == ["models/late.keras"]
    (finding,) = document["models"][0]["findings"]
    assert (finding["rule"], finding["target"], finding["trigger"]) == ("BD301", 7, "t.npz")
    assert finding["attack_success"] == [0.97, 0.93, 0.99]


def test_a_model_can_be_read_back():
    assert from_dict(json.loads(render(RUN))["models"][1]) == samples.CLEAN


@pytest.mark.parametrize("changes", [{}, {"activation": None, "l2": None, "coverage": None, "error": "no seeds"}])
def test_a_run_of_fuzzing_can_be_read_back_without_its_images(changes):
    result = replace(samples.CLEAN, fuzzing=samples.fuzz_run(**changes))
    entry = json.loads(render(Run((result,))))["models"][0]
    assert "inputs" not in entry["fuzzing"]
    assert from_dict(entry) == result
    assert from_dict(entry).fuzzing.inputs is None
    assert junit.results_in(junit.properties(result, {})) == [result]


def test_a_report_without_fuzzing_can_be_read():
    entry = json.loads(render(RUN))["models"][1]
    assert entry.pop("fuzzing") is None
    assert from_dict(entry) == samples.CLEAN


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_become_null(number):
    document = json.loads(render(Run((replace(samples.CLEAN, score=number),))))
    assert document["models"][0]["score"] is None


def test_a_report_replaces_the_old_one_whole(tmp_path):
    (tmp_path / "out.json").write_text("old")
    assert write_reports([("json", tmp_path / "out.json")], RUN) == []
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_report_that_cannot_be_written_is_named_and_the_others_are_written(tmp_path):
    (tmp_path / "file").write_text("")
    targets = [("json", tmp_path / "file/out.json"), ("json", tmp_path / "out.json")]
    (problem,) = write_reports(targets, RUN)
    assert problem.startswith(f"{tmp_path}/file/out.json: ")
    assert (tmp_path / "out.json").exists()


def test_an_unknown_format_is_named():
    with pytest.raises(OptionError, match=r"unknown report format 'yaml'. Choose from: json."):
        check_formats([("yaml", "x")])


def test_triggers_are_saved_under_the_models_hash(tmp_path):
    found = (samples.finding(trigger=samples.FakeTrigger()), samples.finding(trigger=samples.FakeTrigger()))
    result = save_triggers(samples.backdoor(*found), tmp_path)
    paths = [f"{tmp_path}/0123456789ab-{index}.npz" for index in (0, 1)]
    assert [finding.trigger_path for finding in result.findings] == paths
    with np.load(paths[1]) as stored:
        assert stored["mask"].sum() == 8


def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path, monkeypatch):
    def write_half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    result = save_triggers(samples.backdoor(samples.finding(trigger=samples.FakeTrigger())), tmp_path)
    assert result.findings[0].trigger_path is None
    assert result.skipped == (f"trigger not saved: {tmp_path}/0123456789ab-0.npz: No space left on device",)
    assert list(tmp_path.iterdir()) == []


def test_properties_are_builtins_even_where_the_result_has_numpy_numbers():
    result = replace(samples.CLEAN, p_value=np.float32(0.5), score=np.float64(2), image_gradients=np.int64(3))
    properties = junit.properties(result, {"backend": "jax"})
    assert {type(value) for _, value in properties} <= {str, float, int}
    (back,) = junit.results_in(properties)
    assert (back.p_value, back.score, back.image_gradients) == (0.5, 2.0, 3)
    assert junit.tool_in(properties) == {"backend": "jax"}


def test_evidence_survives_the_properties():
    evidence = (Evidence("strip", 0.9), Evidence("transfer", 0.8, (0.7, 0.9)))
    result = samples.backdoor(replace(samples.finding(), evidence=evidence))
    assert junit.results_in(junit.properties(result, {})) == [result]
