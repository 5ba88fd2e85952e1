"""--backdoor-reference: the clean models that a scan is compared with."""


def test_the_path_reaches_the_scan_and_the_header(models, pytester, asked):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-reference=mine.json")
    result.stdout.fnmatch_lines(["backdoor*--backdoor-reference=mine.json*"])
    assert asked()[0]["reference"] == "mine.json"


def test_an_ini_key_is_taken_from_the_folder_of_the_settings(models, pytester, asked):
    models("clean.keras")
    pytester.makeini("[pytest]\nbackdoor_reference = mine.json")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["reference"] == str(pytester.path / "mine.json")
