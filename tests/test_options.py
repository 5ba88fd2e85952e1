"""What users may write for options, and what is generated from their fields."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor import options as option
from pytest_backdoor import values
from pytest_backdoor.errors import OptionError
from pytest_backdoor.options import Options

SECONDS = st.floats(min_value=1e-6, max_value=1e9)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,5}\.[a-z][a-z0-9_]{0,5}", fullmatch=True)
# argparse takes "--" for the end of the options, even behind a flag.
TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=8).filter(
    "--".__ne__
)


@given(SECONDS)
def test_a_budget_is_read_back_from_its_text(seconds):
    (text,) = values.duration_text(seconds)
    assert values.duration(text) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_hours_minutes_and_seconds_add_up(hours, minutes, seconds):
    assert values.duration(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


def budget_or_refusal(text):
    try:
        return values.duration(text)
    except OptionError as problem:
        return str(problem)


@given(st.text())
def test_any_text_is_a_budget_or_refused_in_words(text):
    answer = budget_or_refusal(text)
    assert repr(text) in answer if isinstance(answer, str) else answer > 0


@pytest.mark.parametrize(("seconds", "text"), [(7200.0, "2h"), (600.0, "10m"), (90.0, "90s"), (0.25, "0.25s")])
def test_a_budget_is_written_in_its_largest_whole_unit(seconds, text):
    assert values.duration_text(seconds) == [text]


@given(st.dictionaries(KEYS, TEXTS))
def test_settings_are_read_the_same_from_texts_pairs_and_mappings(settings):
    expected = tuple(settings.items())
    assert values.settings(settings) == expected
    assert values.settings([f"{key}={value}" for key, value in expected]) == expected
    assert values.settings(expected) == expected


def test_a_lone_text_is_one_setting():
    assert values.settings("search.steps=3") == (("search.steps", "3"),)


@st.composite
def all_options(draw):
    """Options of any allowed values."""
    return Options(
        seeds=draw(st.none() | TEXTS.map(Path)),
        profile=draw(st.sampled_from(["quick", "standard", "thorough"])),
        budget=draw(st.none() | SECONDS),
        memory=draw(st.integers(1, 2**50)),
        alpha=draw(st.floats(0, 1, exclude_min=True, exclude_max=True)),
        seed=draw(st.integers(0, 2**64)),
        min_accuracy=draw(st.floats(0, 1)),
        selftest=draw(st.booleans()),
        exhaustive=draw(st.booleans()),
        inconclusive=draw(st.sampled_from(["fail", "skip", "warn"])),
        folder=draw(TEXTS.map(Path)),
        set=draw(st.dictionaries(KEYS, TEXTS)),
    )


@given(all_options())
def test_the_flags_that_repeat_a_run_repeat_it(options):
    parser = argparse.ArgumentParser()
    option.add_flags(parser.add_argument)
    given_again = option.parsed(parser.parse_args(option.flags(options)))
    again = option.layered(Options(), given_again, option.flag)
    assert again.budget == (options.budget and pytest.approx(options.budget, rel=1e-12))
    assert option.to_dict(again) | {"budget": None} == option.to_dict(options) | {"budget": None}


def test_defaults_need_no_flags():
    assert option.flags(Options()) == []


@pytest.mark.parametrize(("size", "text"), [(2**31, "2g"), (3 * 2**29, "1536m"), (2**29, "512m"), (1000, "1000")])
def test_a_size_is_written_in_its_largest_whole_unit(size, text):
    assert values.size_text(size) == [text]


@given(st.integers(1, 2**60))
def test_a_size_is_read_back_from_its_text(size):
    (text,) = values.size_text(size)
    assert values.size(text) == values.size(size) == size


def test_a_budget_of_none_is_written_as_nothing():
    assert values.duration_text(None) == []


def test_every_option_has_one_sentence_of_help_that_names_its_default():
    for name, setting in option.SETTINGS.items():
        assert setting.help[0].islower(), name
        assert "default" in setting.help or setting.repeatable, name
        assert "%" not in setting.help, name  # argparse would format it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": "2"}, "alpha: expected a number from 0 to 1, both excluded, got '2'."),
        ({"alpha": True}, "alpha: expected a number from 0 to 1, both excluded, got True."),
        ({"selftest": "yes"}, "selftest: expected true or false, got 'yes'."),
        ({"seed": 1.5}, "seed: expected a whole number from 0 up, got 1.5."),
        ({"folder": None}, "folder: expected a path, got None."),
        ({"set": 3}, "set: expected a list of texts, got 3."),
        ({"budget": "1.2.3s"}, "budget: expected a time above zero such as 90s, 10m or 1h, got '1.2.3s'."),
        ({"memory": 0.5}, "memory: expected a size of memory such as 2g or 512m, got 0.5."),
        ({"memory": None}, "memory: expected a size of memory such as 2g or 512m, got None."),
        ({"budget": -1}, "budget: expected a time above zero such as 90s, 10m or 1h, got -1."),
    ],
)
def test_options_made_in_code_are_checked_too(arguments, message):
    with pytest.raises(OptionError) as problem:
        Options(**arguments)
    assert str(problem.value) == message


def test_an_unknown_argument_names_the_nearest_option():
    with pytest.raises(OptionError) as problem:
        option.with_arguments(Options(), {"profil": "quick"})
    assert str(problem.value).startswith("unknown option 'profil'. Did you mean 'profile'? Choose from: alpha, ")


def test_a_path_from_elsewhere_is_taken_from_there():
    options = option.layered(Options(), {"seeds": "s.npz", "folder": "found"}, str, Path("/project"))
    assert (options.seeds, options.folder) == (Path("/project/s.npz"), Path("/project/found"))
