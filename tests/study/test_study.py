"""What the studies measure is kept in files, a line a model."""

import json

from example_models.study import is_clean, measure, rows, unusual


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
