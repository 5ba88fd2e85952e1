"""Profiles and the settings changed over them."""

import dataclasses

import pytest

from pytest_backdoor.confirm import strip
from pytest_backdoor.errors import OptionError
from pytest_backdoor.options import Options
from pytest_backdoor.profiles import PROFILES, READERS, Settings, as_text, mode, settings
from pytest_backdoor.search import agreement, fuzzing, inversion, margin, synthetic


def test_the_standard_profile_is_the_settings_defaults():
    assert settings(Options()) == Settings()
    assert PROFILES["standard"] == inversion.Settings()


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_chosen_by_its_name(name):
    assert settings(Options(profile=name)) == Settings(search=PROFILES[name])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(inversion.Settings)])
def test_no_profile_spends_less_than_a_quicker_one(field):
    quick, standard, thorough = (getattr(PROFILES[name], field) for name in ("quick", "standard", "thorough"))
    assert quick <= standard <= thorough


def test_the_profiles_differ():
    assert PROFILES["quick"].steps < PROFILES["standard"].steps < PROFILES["thorough"].steps


def test_settings_change_the_profile_and_the_last_one_counts():
    changed = settings(Options(profile="quick", set=("search.steps=7", "search.level=0.8", "search.steps=9")))
    assert changed == Settings(search=dataclasses.replace(PROFILES["quick"], steps=9, level=0.8))


def test_each_search_has_settings_of_its_own_name():
    each = ("margin.starts=3", "synthetic.images=4", "synthetic.white=255", "agreement.images=5", "fuzz.iterations=9")
    changed = settings(Options(set=each))
    assert changed.agreement == agreement.Settings(images=5)
    assert changed.fuzz == fuzzing.Settings(iterations=9)
    assert changed.margin == margin.Settings(starts=3)
    assert changed.synthetic == synthetic.Settings(images=4, white=255)
    assert changed.search == inversion.Settings()


def test_settings_of_strip_are_read_and_do_not_change_what_a_scan_is_compared_with():
    changed = Options(set=("strip.overlays=128", "strip.false_rejections=0.05"))
    assert settings(changed).strip == strip.Settings(overlays=128, false_rejections=0.05)
    assert mode(changed, with_seeds=True) == "standard"


def test_an_unknown_setting_is_refused_with_the_nearest_one():
    with pytest.raises(OptionError, match=r"unknown setting 'search.step'. Did you mean 'search.steps'\?"):
        settings(Options(set=("search.step=7",)))


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many"])
def test_a_count_must_be_a_whole_number_above_zero(text):
    complaint = rf"search.steps takes a whole number above 0 \(default 150\), got '{text}'"
    with pytest.raises(OptionError, match=complaint):
        settings(Options(set=(f"search.steps={text}",)))


@pytest.mark.parametrize("text", ["0", "-0.5", "1.01", "high", "nan", "inf"])
def test_a_level_is_a_share_above_zero(text):
    with pytest.raises(
        OptionError, match=rf"search.level takes a number above 0 and at most 1 \(default 0.95\), got '{text}'"
    ):
        settings(Options(set=(f"search.level={text}",)))


def test_fuzzing_takes_weights_names_and_classes():
    each = ("step=2.5", "neuron_weight=0", "neurons=0", "strategies=random+heavy", "constraint=box", "target=7")
    changed = settings(Options(set=tuple(f"fuzz.{text}" for text in each)))
    wanted = {"step": 2.5, "neuron_weight": 0.0, "neurons": 0, "constraint": "box", "target": 7}
    assert changed.fuzz == fuzzing.Settings(**wanted, strategies=("random", "heavy"))
    assert settings(Options(set=("fuzz.target=none",))).fuzz == fuzzing.Settings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "constraint=bax",
            r"fuzz.constraint: unknown constraint 'bax'. Did you mean 'box'\?",
        ),
        ("strategies=random+rare", r"fuzz.strategies: unknown strategy 'rare'. Did you mean 'rarely'\? Choose from: "),
        ("strategies=", r"fuzz.strategies"),
        ("target=seven", "fuzz.target: expected a whole number from 0 up, got 'seven'"),
        ("step=0", "fuzz.step: expected a number from 0 to 1e\\+06, both excluded, got '0'"),
        ("threshold=1.5", "fuzz.threshold: expected a number from 0 to 1, got '1.5'"),
        ("iterations=0", r"fuzz.iterations takes a whole number above 0 \(default 5\), got '0'"),
        ("methods=x", "unknown setting 'fuzz.methods'"),
    ],
)
def test_what_fuzzing_cannot_use_is_refused(text, complaint):
    with pytest.raises(OptionError, match=complaint):
        settings(Options(set=(f"fuzz.{text}",)))


def test_an_unknown_search_method_is_refused():
    with pytest.raises(OptionError, match=r"search.methods: unknown search method 'fuzz'. Did you mean 'fuzzing'\?"):
        settings(Options(set=("search.methods=fuzz",)))


def test_every_setting_of_fuzzing_reads_its_own_default():
    usual = fuzzing.Settings()
    for field in dataclasses.fields(usual):
        text = f"fuzz.{field.name}={as_text(getattr(usual, field.name))}"
        assert settings(Options(set=(text,))).fuzz == usual


def test_every_reader_is_of_a_setting():
    rooms = Settings()
    assert all(hasattr(getattr(rooms, key.partition(".")[0]), key.partition(".")[2]) for key in READERS)


def test_settings_that_change_nothing_are_no_mode_of_their_own():
    usual = ("search.steps=150", "synthetic.white=255")
    assert mode(Options(set=(*usual, "synthetic.images=3")), with_seeds=True) == "standard"
    assert mode(Options(set=usual), with_seeds=False) == "standard without seeds"
    assert mode(Options(set=("synthetic.images=3",)), with_seeds=False) == "standard, synthetic.images=3 without seeds"
    two = ("search.steps=7", "search.images=9")
    assert mode(Options(set=two), with_seeds=True) == mode(Options(set=two[::-1]), with_seeds=True)


def test_settings_of_fuzzing_change_no_evidence_of_a_scan():
    assert mode(Options(set=("search.steps=7", "fuzz.step=0.5")), with_seeds=True) == "standard, search.steps=7"
