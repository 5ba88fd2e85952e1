"""--backdoor-suspects: suspicious images whose regions a scan tries too."""


def test_the_path_reaches_the_scan_and_the_header(models, pytester, asked):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-suspects=mail")
    result.stdout.fnmatch_lines(["backdoor*--backdoor-suspects=mail*"])
    assert asked()[0]["suspects"] == "mail"


def test_an_ini_key_is_taken_from_the_folder_of_the_settings(models, pytester, asked):
    models("clean.keras")
    pytester.makeini("[pytest]\nbackdoor_suspects = mail.npz")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["suspects"] == str(pytester.path / "mail.npz")


def test_without_it_there_are_none(models, pytester, asked):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["suspects"] is None
