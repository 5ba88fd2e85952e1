"""Profiles and the settings changed over them."""

import dataclasses

import pytest

from pytest_backdoor.errors import OptionError
from pytest_backdoor.options import Options
from pytest_backdoor.profiles import PROFILES, Settings, settings
from pytest_backdoor.search import inversion, margin, synthetic


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
    changed = settings(Options(set=("margin.starts=3", "synthetic.images=4", "synthetic.white=255")))
    assert changed.margin == margin.Settings(starts=3)
    assert changed.synthetic == synthetic.Settings(images=4, white=255)
    assert changed.search == inversion.Settings()


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
