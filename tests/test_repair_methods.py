"""The methods of a repair: what unlearning is given, which of its tunings counts, and what is inpainted."""

import dataclasses
from functools import partial

import keras
import numpy as np
import pytest

from pytest_backdoor import judge, profiles, repair_methods, repaired
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import Options
from pytest_backdoor.repaired import prepare, repair_model
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.triggers.trigger import Trigger

NAME = "mnist_pattern_to_one"


@pytest.fixture
def unsearched(monkeypatch):
    """A repair that knows of no triggers but those that it was given, and inpaints nothing."""
    monkeypatch.setattr(repair_methods.inpainting, "region", lambda triggers, shape: np.zeros(shape[:2], bool))
    monkeypatch.setattr(repair_methods, "_searched", lambda *given: ([], []))


@pytest.mark.parametrize(
    ("rule", "method", "count"), [(7, "inversion", 4), ({1: 7}, "inversion", 1), (7, "fuzzing", 1)]
)
def test_what_lies_around_a_trigger_is_unlearned_too_but_not_of_one_source(
    examples, planted, monkeypatch, unsearched, rule, method, count
):
    given = []
    monkeypatch.setattr(
        repair_methods.unlearning,
        "unlearned",
        lambda model, subject, seeds, triggers, *more: given.append(triggers) or model,
    )
    options = Options(set=(("search.methods", method), ("search.strong_steps", "2")))
    repair_model(examples / f"{NAME}.keras", None, options, ("unlearning",), known=[(planted, rule)])
    assert [len(triggers) for triggers in given] == [count]


ALL = {source: (source + 1) % 10 for source in range(10)}


@pytest.mark.parametrize(
    ("mapping", "families"),
    [
        (dict.fromkeys(range(7), 7), ["additive"]),  # not the tone, which stands out less than the patch
        (dict.fromkeys(range(8), 8), ["warp"]),  # not the generator, which is weaker than what a scan tries
        (ALL, ["low-frequency"]),  # not the warp, which stands out less than the patch
        (dict.fromkeys(range(3), 3), []),
        ({1: 7}, []),
    ],
)
def test_triggers_of_families_in_which_the_rule_stands_out_more_are_unlearned_too(
    examples, planted, monkeypatch, mapping, families
):
    seen = [
        ("patch", 3.0, 7),
        ("additive", 5.0, 7),
        ("tone", 2.9, 7),
        ("warp", 2.6, 8),
        ("generator", 2.4, 8),
        ("patch", 4.0, None),
        ("low-frequency", 4.1, None),
        ("warp", 3.9, None),
    ]
    suspicions = [
        Suspicion("", "all-to-one" if target else "all-to-all", 10.0**-evidence, 10, True, Trigger(family, {}), target)
        for family, evidence, target in seen
    ]
    given = []
    monkeypatch.setattr(repair_methods, "INVERSION", {"patch": lambda bench: suspicions, "tone": lambda bench: []})
    monkeypatch.setattr(repair_methods, "FAMILIES", ("patch", "tone"))
    monkeypatch.setattr(repair_methods, "fuzzing", lambda bench: [])
    monkeypatch.setattr(repair_methods, "harder", lambda arm, found, *more: ([found] * 3, 0))
    monkeypatch.setattr(
        repair_methods.unlearning,
        "unlearned",
        lambda model, subject, seeds, triggers, *more: given.extend(triggers) or model,
    )
    ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
    known, settings = repair_methods.Known(planted, mapping), profiles.settings(Options())
    repair_methods.METHODS["unlearning"](ward, [known], settings, np.random.default_rng(0))
    around = ["patch"] * (1 if len(mapping) == 1 else 4)  # the known one, and what lies around it
    assert [trigger.family for trigger in given] == [*around, *(family for family in families for _ in range(4))]


def test_a_backdoor_that_nobody_knows_of_is_unlearned_too_where_a_window_shows_it(examples, planted):
    """The known trigger changes nothing, and what is found beside it is the planted one."""
    options = Options(set=(("search.methods", "fuzzing"),))
    ward = prepare(examples / f"{NAME}.keras", None, options, NAME, "")
    known = repair_methods.Known(Trigger("patch", dict.fromkeys(("mask", "pattern"), np.zeros((28, 28, 1)))), {1: 0})
    unknown = [repair_methods.Known(planted, dict.fromkeys(range(7), 7))]
    made, _ = repair_methods.METHODS["unlearning"](ward, [known], profiles.settings(options), np.random.default_rng(0))
    (before,), (after,) = (repaired.measured(ward, model, unknown)[1] for model in (ward.model, made))
    assert before[0] > 0.95
    assert after[0] < 0.15


def test_unlearning_takes_a_lower_rate_where_a_high_one_costs_accuracy(examples, planted, monkeypatch, unsearched):
    rates = []

    def unlearned(model, subject, seeds, triggers, settings, rng, others):
        rates.append(settings.rates[0])
        made = keras.models.clone_model(model)
        made.set_weights([(len(rates) > 1) * weight for weight in model.get_weights()])  # nothing is left at first
        return made

    monkeypatch.setattr(repair_methods.unlearning, "unlearned", unlearned)
    options = Options(set=(("search.strong_steps", "2"),))
    repair, _ = repair_model(examples / f"{NAME}.keras", None, options, ("unlearning",), known=[(planted, 7)])
    assert rates == [0.1, 0.03]
    assert repair.attempts[0].accuracy == repair.accuracy
    assert repair.attempts[0].done.startswith("tuned from rate 0.03 ")


def test_of_tunings_that_all_cost_too_much_the_one_that_keeps_most_counts(examples, planted, monkeypatch, unsearched):
    made, lost = [], iter([0.1, 0.3])

    def unlearned(model, subject, seeds, triggers, settings, rng, others):
        made.append(keras.models.clone_model(model))
        return made[-1]

    monkeypatch.setattr(repair_methods.unlearning, "unlearned", unlearned)
    monkeypatch.setattr(repair_methods, "_lost", lambda ward, model: next(lost))
    options = Options(set=(("search.strong_steps", "2"),))
    ward = prepare(examples / f"{NAME}.keras", None, options, NAME, "")
    settings, rng = profiles.settings(options), np.random.default_rng(0)
    chosen, done = repair_methods.METHODS["unlearning"](ward, [repair_methods.Known(planted, {1: 7})], settings, rng)
    assert [chosen is each for each in made] == [True, False]
    assert done == "tuned from rate 0.1 with 1 trigger"


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (dict.fromkeys(range(7), 7), ["additive 7", "fuzzing 5", "fuzzing 7"]),
        (dict.fromkeys(range(4), 4), ["additive 4", "fuzzing 5", "fuzzing 7", "fuzzing 4"]),
        (ALL, ["fuzzing 5", "fuzzing 7"]),
    ],
)
def test_other_triggers_for_a_known_target_are_unlearned_too_and_those_in_windows_for_any_if_they_stand_out(
    examples, planted, monkeypatch, mapping, expected
):
    """Class 6 has none at all, 4 is small but not that small that a scan would try it, 5 and 7 are tiny."""

    def search(bench, check):
        arms = (*(Arm("target", 1, 0.5, target=target) for target in range(8)), Arm("map", 1, 0.5))
        triggers = tuple(Trigger(f"{check} {arm.target}", {}) for arm in arms)
        sizes = np.array([45.0, 28.0, 20.0, 40.0, 12.0, 0.1, np.nan, 0.1, 0.1])
        found = Inversion("patch", arms, sizes, np.ones(9), triggers, (28, 28, 1), 0)
        bench.by_class[check] = judge.each_class(check, found, 10)
        assert [each.target for each in bench.by_class[check] if each.strong] == [5, 7, 4]
        return []

    monkeypatch.setattr(repair_methods, "FAMILIES", ("additive",))
    monkeypatch.setitem(repair_methods.INVERSION, "additive", partial(search, check="additive"))
    monkeypatch.setattr(repair_methods, "fuzzing", partial(search, check="fuzzing"))
    monkeypatch.setattr(repair_methods, "harder", lambda *given: ([], 0))
    given = []
    monkeypatch.setattr(repair_methods.unlearning, "unlearned", lambda model, *more: given.append(more[-1]) or model)
    ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
    known, settings = repair_methods.Known(planted, mapping), profiles.settings(Options())
    repair_methods.METHODS["unlearning"](ward, [known], settings, np.random.default_rng(0))
    assert [each.family for each in given[0]] == expected


@pytest.mark.parametrize(("max_loss", "tried"), [(0.02, 2), (0.6, 1)])
def test_unlearning_is_content_with_what_the_repair_may_cost(
    examples, planted, monkeypatch, unsearched, max_loss, tried
):
    losses = [0.5, 0.02]
    left = iter(losses)
    monkeypatch.setattr(repair_methods.unlearning, "unlearned", lambda model, *more: model)
    monkeypatch.setattr(repair_methods, "_lost", lambda ward, model: next(left))
    repair_model(examples / f"{NAME}.keras", methods=("unlearning",), max_loss=max_loss, known=[(planted, {1: 7})])
    assert list(left) == losses[tried:]


@pytest.mark.parametrize("worse", ["tuning", "held_out"])
def test_what_a_tuning_costs_is_counted_in_the_half_where_it_is_more(examples, planted, monkeypatch, unsearched, worse):
    """A copy that is right on one half only is no better than one that is wrong on both."""
    ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
    rates, bad = [], getattr(ward, worse)
    right = repaired.right

    def unlearned(model, subject, seeds, triggers, settings, rng, others):
        rates.append(settings.rates[0])
        made = keras.models.clone_model(model)
        made.set_weights(model.get_weights())
        return made

    def counted(subject, seeds):
        return 0 if len(rates) == 1 and subject is not ward.subject and seeds is bad else right(subject, seeds)

    monkeypatch.setattr(repair_methods.unlearning, "unlearned", unlearned)
    monkeypatch.setattr(repair_methods, "right", counted)
    settings, rng = profiles.settings(Options()), np.random.default_rng(0)
    repair_methods.METHODS["unlearning"](ward, [repair_methods.Known(planted, {1: 7})], settings, rng)
    assert rates == [0.1, 0.03]


def inpainted(examples, planted, monkeypatch, max_loss=0.02, beside=(), unlearned=True):
    """What a tuning that changes nothing is said to have done, and the success that it leaves."""
    monkeypatch.setattr(repair_methods, "_searched", lambda *given: ([], beside))
    if unlearned:
        monkeypatch.setattr(repair_methods, "_obeys", lambda *given: False)
    monkeypatch.setattr(repair_methods, "_around", lambda *given: [])
    monkeypatch.setattr(repair_methods.unlearning, "unlearned", lambda model, *more: model)
    ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
    known = [repair_methods.Known(planted, {source: 7 for source in range(10) if source != 7})]
    ward, settings = dataclasses.replace(ward, max_loss=max_loss), profiles.settings(Options())
    made, done = repair_methods.METHODS["unlearning"](ward, known, settings, np.random.default_rng(0))
    return done, repaired.measured(ward, made, known)[1][0][0]


def test_the_pixels_of_a_patch_are_inpainted_in_front_of_the_tuned_copy(examples, planted, monkeypatch):
    done, left = inpainted(examples, planted, monkeypatch)
    assert done == "tuned from rate 0.1 with 1 trigger, 25 pixels inpainted"
    assert left < 0.03


def test_a_copy_that_still_obeys_is_not_inpainted(examples, planted, monkeypatch):
    done, left = inpainted(examples, planted, monkeypatch, unlearned=False)
    assert done == "tuned from rate 0.1 with 1 trigger"
    assert left > 0.95


def suspected(target, *cells):
    """What a search in windows shows of a class: a patch of these cells."""
    mask = np.zeros((28, 28, 1), "float32")
    for cell in cells:
        mask[cell] = 1
    return Suspicion("", "all-to-one", 1e-9, 10, True, Trigger("patch", {"mask": mask, "pattern": mask}), target)


def test_a_patch_for_another_class_is_inpainted_too_and_others_for_the_known_one_are_not(
    examples, planted, monkeypatch
):
    beside = [suspected(3, (20, 20)), suspected(7, (10, 10))]
    done, _ = inpainted(examples, planted, monkeypatch, beside=beside)
    assert done == "tuned from rate 0.1 with 1 trigger, 2 others, 34 pixels inpainted"


def test_where_a_patch_for_another_class_costs_too_much_the_known_one_alone_is_inpainted(
    examples, planted, monkeypatch
):
    middle = [(row, column) for row in range(6, 22) for column in range(6, 22)]
    done, _ = inpainted(examples, planted, monkeypatch, beside=[suspected(3, *middle)])
    assert done == "tuned from rate 0.1 with 1 trigger, 1 others, 25 pixels inpainted"


def test_where_inpainting_costs_too_much_accuracy_it_is_left_out(examples, planted, monkeypatch):
    most = np.ones((28, 28), bool)
    most[0] = False
    monkeypatch.setattr(repair_methods.inpainting, "region", lambda triggers, shape: most)
    done, left = inpainted(examples, planted, monkeypatch)
    assert done == "tuned from rate 0.1 with 1 trigger"
    assert left > 0.95
    assert inpainted(examples, planted, monkeypatch, max_loss=1)[0].endswith(f", {27 * 28} pixels inpainted")


@pytest.mark.parametrize("opaque", [0.0, 1.0])
def test_a_trigger_without_a_region_or_without_pixels_around_it_is_not_inpainted(
    examples, planted, monkeypatch, opaque
):
    whole = np.full((28, 28, 1), opaque, "float32")
    trigger = Trigger("patch", {"mask": whole, "pattern": whole})
    assert inpainted(examples, trigger, monkeypatch)[0] == "tuned from rate 0.1 with 1 trigger"
