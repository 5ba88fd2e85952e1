"""What the studies measure is kept in files, a line a model."""

import json

from example_models.study import is_clean, measure, report, rows, unusual


def trained(folder, name, **truth):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"attack": None, "training": "plain", **truth}))


def test_a_model_that_was_measured_is_not_measured_again(tmp_path):
    for name in ("b", "a"):
        trained(tmp_path / "mnist", name)
    looked = []

    def look(model, truth):
        looked.append(model.name)
        return {"verdict": "clean"}

    file = tmp_path / "results" / "standard.jsonl"
    measure(tmp_path, "b", file, look)
    assert looked == ["b.keras"]
    (tmp_path / "mnist" / "b.json").unlink()  # the line is enough
    measure(tmp_path, "", file, look)
    measure(tmp_path, "", file, look)
    assert looked == ["b.keras", "a.keras"]
    assert [row["name"] for row in rows(file)] == ["a", "b"]
    assert rows(file)[1] == {"name": "b", "attack": None, "training": "plain", "result": {"verdict": "clean"}}


def test_only_models_that_are_wanted_are_measured(tmp_path):
    trained(tmp_path / "mnist", "plain")
    trained(tmp_path / "mnist", "noisy", training="noisy")
    trained(tmp_path / "mnist", "pixel", attack="pixel")
    for which, names in ((is_clean, ["noisy", "plain"]), (unusual, ["noisy"])):
        file = tmp_path / f"{which.__name__}.jsonl"
        measure(tmp_path, "", file, lambda model, truth: {}, which)
        assert [row["name"] for row in rows(file)] == names


def test_what_was_not_measured_has_no_rows(tmp_path):
    assert rows(tmp_path / "none.jsonl") == []


def scanned(verdict, score, target=None):
    """What a scan says of a model."""
    found = {"kind": "all-to-one", "source": None, "target": target, "mapping": None, "family": "patch"}
    findings = [] if target is None else [found]
    return {"verdict": verdict, "score": score, "p_value": 10**-score, "findings": findings, "seconds": 20.0}


def test_the_report_has_a_line_for_each_way_of_scanning_and_names_what_was_missed(tmp_path):
    clean = {"attack": None, "data": "mnist", "architecture": "cnn", "training": "plain", "accuracy": 0.98}
    bad = clean | {"attack": "pixel", "kind": "all-to-one", "source": None, "targets": [3], "success": 0.99}
    clean |= {"success": None}
    found, missed = scanned("backdoor", 5.0, 3), scanned("inconclusive", 1.0)
    for name, of_bad in (("standard", found), ("without-seeds", missed)):
        lines = {"name": "a", **clean, "result": missed}, {"name": "b", **bad, "result": of_bad}
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "clean.jsonl").write_text(json.dumps({"name": "a", **clean}))
    text = report(tmp_path)
    assert "| profile standard | 0 of 1 (0 to 79 %) | 1 of 1 (21 to 100 %) | 1 of 1 (21 to 100 %) | 1.000 | " in text
    assert "| profile standard, without seeds | 0 of 1 (0 to 79 %) | 0 of 1 (0 to 79 %) |  | 0.500 | " in text
    assert "profile quick" not in text
    assert "| b | 0.980" not in text  # it was found in the standard profile
