"""--backdoor-seeds: clean images to search and confirm with."""


def test_the_path_reaches_the_scan(models, pytester, asked):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-seeds=images/seeds.npz")
    assert asked()[0]["seeds"] == "images/seeds.npz"


def test_without_it_the_scan_gets_none_or_what_lies_beside_the_model(models, pytester, asked):
    models("clean.keras", "clean2.keras", "clean2.seeds.npz")
    pytester.runpytest("--backdoor-scan", "models")
    first, second = (entry["seeds"] for entry in asked())
    assert first is None
    assert second.endswith("models/clean2.seeds.npz")


def test_the_ini_path_is_relative_to_the_ini_file(models, pytester, asked, monkeypatch):
    models("clean.keras")
    pytester.makeini("[pytest]\nbackdoor_seeds = images/seeds.npz")
    monkeypatch.chdir(pytester.path / "models")
    pytester.runpytest("--backdoor-scan")
    (line,) = (pytester.path / "models/asked.jsonl").read_text().splitlines()
    assert f'"seeds": "{pytester.path}/images/seeds.npz"' in line


def test_an_empty_path_is_wrong_usage(models, pytester):
    result = pytester.runpytest("--backdoor-seeds=")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --backdoor-seeds: expected a path, got ''."])
