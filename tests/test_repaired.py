"""Repair of one model: what is chosen, what is refused, and that the model stays as it is."""

import keras
import numpy as np
import pytest

from pytest_backdoor import judge, profiles, repaired, rules
from pytest_backdoor.errors import OptionError, OutOfScopeError
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.loading import keras_file, safety
from pytest_backdoor.options import Options
from pytest_backdoor.repaired import prepare, repair_model
from pytest_backdoor.results import Finding, ScanResult
from pytest_backdoor.triggers.trigger import Trigger

NAME = "mnist_pattern_to_one"


@pytest.fixture(scope="module")
def planted(examples):
    return Trigger.load(examples / "planted" / f"{NAME}.npz")


@pytest.fixture
def zeroed(monkeypatch):
    """A method that leaves nothing of the model."""

    def method(ward, known, settings, rng):
        return emptied(ward.model), "all gone"

    monkeypatch.setitem(repaired.METHODS, "zeroed", method)


@pytest.fixture(scope="module")
def both(examples, planted):
    """The same repair twice."""
    path = examples / f"{NAME}.keras"
    before = safety.sha256(path)
    runs = [repair_model(path, methods=("lipschitz", "unlearning"), known=[(planted, 7)]) for _ in range(2)]
    assert safety.sha256(path) == before
    return runs


def test_the_method_that_leaves_the_trigger_least_is_chosen_and_keeps_the_accuracy(both):
    repair, made = both[0]
    assert repair.chosen == "unlearning"
    assert repair.error is None
    assert repair.rules == ("0>7 1>7 2>7 3>7 4>7 5>7 6>7 8>7 9>7",)
    assert repair.success[0][0] > 0.95
    lipschitz, unlearning = repair.attempts
    assert lipschitz.success == repair.success
    assert lipschitz.done == "0 channels silenced"
    assert unlearning.success[0][0] <= 0.05
    assert repair.accuracy[0] - unlearning.accuracy[0] <= 0.02
    assert "with 1 trigger and" in unlearning.done
    assert made.output_shape == (None, 10)


@pytest.mark.parametrize(
    ("rule", "method", "count"), [(7, "inversion", 4), ({1: 7}, "inversion", 1), (7, "fuzzing", 1)]
)
def test_what_lies_around_a_trigger_is_unlearned_too_but_not_of_one_source(
    examples, planted, monkeypatch, rule, method, count
):
    given = []
    monkeypatch.setattr(
        repaired.unlearning, "unlearned", lambda model, subject, seeds, triggers, *more: given.append(triggers) or model
    )
    monkeypatch.setattr(repaired, "FAMILIES", ())
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
    monkeypatch.setattr(repaired, "INVERSION", {"patch": lambda bench: suspicions, "tone": lambda bench: []})
    monkeypatch.setattr(repaired, "FAMILIES", ("patch", "tone"))
    monkeypatch.setattr(repaired, "TURNS", 1)
    monkeypatch.setattr(repaired, "harder", lambda arm, found, *more: ([found] * 3, 0))
    monkeypatch.setattr(
        repaired.unlearning, "unlearned", lambda model, subject, seeds, triggers, *more: given.extend(triggers) or model
    )
    ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
    known, settings = repaired.Known(planted, mapping), profiles.settings(Options())
    repaired.METHODS["unlearning"](ward, [known], settings, np.random.default_rng(0))
    around = 0 if len(mapping) == 1 else 3  # of each
    starts = ["patch", *families]
    assert [trigger.family for trigger in given] == [*starts, *(each for each in starts for _ in range(around))]


@pytest.fixture
def unlearning(examples, planted, monkeypatch):
    """What unlearning says, which of the models that its tunings give it keeps, and with how many triggers each was."""

    def run(*tuned):
        given, left = [], iter(tuned)

        def unlearned(model, subject, seeds, triggers, *more):
            given.append(len(triggers))
            return next(left)

        monkeypatch.setattr(repaired.unlearning, "unlearned", unlearned)
        monkeypatch.setattr(repaired, "FAMILIES", ())
        monkeypatch.setattr(repaired, "harder", lambda arm, found, *more: ([found], 0))
        ward = prepare(examples / f"{NAME}.keras", None, Options(), NAME, "")
        known = repaired.Known(planted, rules.label_map(7, 10))
        made, done = repaired.METHODS["unlearning"](
            ward, [known], profiles.settings(Options()), np.random.default_rng(0)
        )
        return done, [made is each for each in tuned], given

    return run


@pytest.fixture
def bad(examples):
    return keras_file.load(examples / f"{NAME}.keras")


def emptied(model):
    """A copy that takes every image for class 0."""
    made = keras.models.clone_model(model)
    made.set_weights([0 * weight for weight in model.get_weights()])
    return made


def test_triggers_are_searched_for_again_in_what_the_tuning_made_while_they_work(unlearning, examples, bad):
    clean = keras_file.load(examples / "mnist_clean.keras")
    assert unlearning(clean) == ("tuned once with 1 trigger and 1 alike", [True], [2])
    assert unlearning(bad, clean) == ("tuned 2 times with 1 trigger and 2 alike", [False, True], [2, 3])


def test_three_tunings_are_enough(unlearning, bad):
    others = [bad, keras.models.clone_model(bad), keras.models.clone_model(bad)]
    for each in others:
        each.set_weights(bad.get_weights())
    assert unlearning(*others) == ("tuned 3 times with 1 trigger and 3 alike", [False, False, True], [2, 3, 4])


def test_a_tuning_that_costs_accuracy_gives_way_to_a_slower_one(unlearning, examples, bad):
    clean = keras_file.load(examples / "mnist_clean.keras")
    assert unlearning(emptied(bad), clean) == ("tuned once with 1 trigger and 1 alike", [False, True], [2, 2])


def test_where_both_cost_accuracy_the_turn_before_counts_and_of_the_first_the_slower(unlearning, bad):
    first, second = emptied(bad), emptied(bad)
    done = "tuned once with 1 trigger and 1 alike"
    assert unlearning(bad, first, second) == (done, [True, False, False], [2, 3, 3])
    assert unlearning(first, second) == (done, [False, True], [2, 2])


def test_the_same_seed_gives_the_same_repair(both):
    (first, one), (second, other) = both
    assert first.attempts[1].success == second.attempts[1].success
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_a_repair_that_leaves_the_trigger_working_is_refused(examples, planted):
    repair, made = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",), known=[(planted, 7)])
    assert made is None
    assert repair.chosen is None
    assert repair.attempts[0].success == repair.success
    assert repair.error.startswith(
        "no method brings the success of every trigger to 15 % or less and costs at most 2 points of held-out accuracy."
    )


def test_a_repair_that_costs_too_much_accuracy_is_refused_unless_it_may(examples, planted, zeroed):
    path = examples / f"{NAME}.keras"
    assert repair_model(path, methods=("zeroed",), known=[(planted, 7)])[1] is None
    repair, made = repair_model(path, methods=("zeroed",), known=[(planted, 7)], max_loss=1.0)
    assert made is not None
    assert repair.attempts[0].accuracy[0] == pytest.approx(0.1)


def test_a_method_that_needs_what_the_model_lacks_is_said_to(examples, planted, monkeypatch, zeroed):
    def refuse(ward, known, settings, rng):
        raise OutOfScopeError("no convolution")

    monkeypatch.setitem(repaired.METHODS, "refused", refuse)
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("refused",), known=[(planted, 7)])
    assert (repair.attempts[0].error, repair.attempts[0].accuracy) == ("no convolution", None)


@pytest.mark.parametrize(
    ("accuracy", "success", "good"),
    [
        ((0.98, 0.96), (0.15,), True),
        ((0.98, 0.959), (0.0,), False),
        ((0.98, 0.98), (0.0, 0.16), False),
        ((0.90, 0.95), (0.0,), True),
    ],
)
def test_a_repair_keeps_accuracy_and_leaves_no_trigger(accuracy, success, good):
    assert judge.is_repaired(accuracy, success, 0.02) is good


def test_a_black_box_has_nothing_to_repair(planted):
    seeds = np.zeros((4, 28, 28, 1), "float32"), np.arange(4)
    repair, made = repair_model(lambda images: np.eye(10)[:4], seeds, known=[(planted, 7)], name="box")
    assert made is None
    assert repair.error == "the model is a function, which has no weights to repair. Give the Keras model."


def test_without_seeds_nothing_is_repaired(example, planted):
    repair, _ = repair_model(example(NAME)[0], known=[(planted, 7)])
    assert repair.error.startswith("no seeds, and a repair is tuned and measured with them.")


@pytest.mark.parametrize("rule", [10, {0: 11}])
def test_a_class_that_the_model_does_not_know_is_wrong_usage(examples, planted, rule):
    with pytest.raises(OptionError, match=r"the rule speaks of class 1\d, but the model knows the classes 0 to 9"):
        repair_model(examples / f"{NAME}.keras", known=[(planted, rule)])


@pytest.mark.parametrize(("rule", "shown"), [("next", "0>1 1>2 "), ({1: 7}, "1>7")])
def test_a_known_trigger_has_any_rule(examples, planted, rule, shown):
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",), known=[(planted, rule)])
    assert repair.rules[0].startswith(shown)


def test_the_triggers_are_those_that_a_scan_finds(examples, planted, monkeypatch):
    found = tuple(
        Finding("BD303", "patch", "source-specific", 7, source, None, 0.01, 9, (1.0, 0.9, 1.0), 1e-6, trigger=planted)
        for source in (1, 2)
    )

    def scan(model, seeds, options, name):
        return ScanResult(name, "", "backdoor", findings=found)

    monkeypatch.setattr(repaired, "scan", scan)
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",))
    assert repair.rules == ("1>7", "2>7")
    assert len(repair.success) == 2


@pytest.mark.parametrize(("error", "said"), [(None, "ends with clean. "), ("too few", "ends with clean: too few. ")])
def test_a_model_that_scans_clean_is_not_repaired(examples, monkeypatch, error, said):
    monkeypatch.setattr(repaired, "scan", lambda *given: ScanResult("m", "", "clean", error=error))
    repair, made = repair_model(examples / f"{NAME}.keras")
    assert made is None
    assert said in repair.error


def test_the_halves_share_no_image_and_hold_every_seed_those_that_the_model_gets_wrong_too(examples):
    path = examples / f"{NAME}.keras"
    ward = prepare(path, None, Options(), "m", safety.sha256(path))
    images = np.concatenate([ward.tuning.images, ward.held_out.images])
    assert len(images) == 200
    assert len(np.unique(images.reshape(200, -1), axis=0)) == 200
    accuracy, _ = repaired.measured(ward, ward.model, [])
    assert accuracy[0] < 1


def test_without_labels_the_models_own_answers_are_right(example):
    model, images, _ = example(NAME)
    ward = prepare(model, images, Options(), "m", "")
    assert repaired.measured(ward, ward.model, [])[0][0] == 1


def test_fine_pruning_and_the_filter_say_what_they_did(examples, planted):
    repair, _ = repair_model(
        examples / "mnist_pixel_to_one.keras",
        methods=("fine-pruning", repaired.FILTER),
        known=[(Trigger.load(examples / "planted" / "mnist_pixel_to_one.npz"), 3)],
    )
    pruning, behind = repair.attempts
    assert pruning.done.endswith("channels silenced, tuned")
    assert behind.done.startswith("rejects blends under ")
