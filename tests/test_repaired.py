"""Repair of one model: what is chosen, what is refused, and that the model stays as it is."""

import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pytest_backdoor import deadline, judge, repair_methods, repaired
from pytest_backdoor.errors import OptionError, OutOfScopeError
from pytest_backdoor.loading import safety
from pytest_backdoor.options import Options
from pytest_backdoor.repaired import prepare, repair_model
from pytest_backdoor.results import Finding, ScanResult
from pytest_backdoor.triggers.trigger import Trigger

NAME = "mnist_pattern_to_one"
QUICK = Options(profile="quick")


@pytest.fixture
def zeroed(monkeypatch):
    """A method that leaves nothing of the model."""

    def method(ward, known, settings, rng):
        made = keras.models.clone_model(ward.model)
        made.set_weights([0 * weight for weight in made.get_weights()])
        return made, "all gone"

    monkeypatch.setitem(repair_methods.METHODS, "zeroed", method)


@pytest.fixture(scope="module")
def both(examples, planted):
    """The same repair twice."""
    path = examples / f"{NAME}.keras"
    before = safety.sha256(path)
    methods, known = ("lipschitz", "unlearning"), [(planted, 7)]
    runs = [repair_model(path, options=QUICK, methods=methods, known=known) for _ in range(2)]
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
    assert repair.accuracy[0] - unlearning.accuracy[0] <= 0.02 + 1e-9
    did = r"tuned from rate 0\.1 with 1 trigger, 3 alike, \d+ others, 25 pixels inpainted"
    assert re.fullmatch(did, unlearning.done)
    assert made.output_shape == (None, 10)


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
        "no method brings the success of every trigger to 15 % or less, clearly below what it was (99 % intervals), "
        "and costs at most 2 points of held-out accuracy."
    )


def test_a_repair_that_costs_too_much_accuracy_is_refused_unless_it_may(examples, planted, zeroed):
    path = examples / f"{NAME}.keras"
    assert repair_model(path, methods=("zeroed",), known=[(planted, 7)])[1] is None
    repair, made = repair_model(path, methods=("zeroed",), known=[(planted, 7)], max_loss=1.0)
    assert made is not None
    assert repair.attempts[0].accuracy[0] == pytest.approx(0.1)


@pytest.fixture
def slow(monkeypatch):
    """A method that takes longer than any budget, and asks whether it may."""
    clock = SimpleNamespace(now=0.0)

    def method(ward, known, settings, rng):
        clock.now = np.inf
        deadline.ask()
        return ward.model, "never asked"

    monkeypatch.setattr(deadline, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setitem(repair_methods.METHODS, "slow", method)


LATE = "the budget of 3600 s was spent before slow was done. Raise --backdoor-budget."


def test_a_budget_that_is_spent_leaves_what_a_method_before_has_repaired(examples, planted, zeroed, slow):
    options, methods = Options(budget=3600), ("zeroed", "slow", "lipschitz")
    repair, made = repair_model(examples / f"{NAME}.keras", None, options, methods, 1.0, [(planted, 7)])
    assert (repair.chosen, repair.error, made is None) == ("zeroed", None, False)
    assert [(each.method, each.error) for each in repair.attempts] == [("zeroed", None), ("slow", LATE)]


def test_where_the_budget_is_spent_and_nothing_is_repaired_it_says_so(examples, planted, zeroed, slow):
    options, methods = Options(budget=3600), ("slow", "zeroed")
    repair, made = repair_model(examples / f"{NAME}.keras", None, options, methods, 1.0, [(planted, 7)])
    assert (repair.chosen, repair.error, made) == (None, LATE, None)
    assert [(each.method, each.error) for each in repair.attempts] == [("slow", LATE)]


def test_without_a_budget_a_method_takes_as_long_as_it_takes(examples, planted, slow):
    repair, _ = repair_model(examples / f"{NAME}.keras", None, Options(), ("slow",), known=[(planted, 7)])
    assert (repair.attempts[0].done, repair.attempts[0].error) == ("never asked", None)


def test_a_budget_counts_from_the_beginning_of_the_repair(examples, planted):
    repair, made = repair_model(examples / f"{NAME}.keras", None, Options(budget=1e-9), known=[(planted, 7)])
    assert (repair.attempts, made) == ((), None)
    assert repair.error.startswith("the budget of 1e-09 s was spent")


def test_a_method_that_needs_what_the_model_lacks_is_said_to(examples, planted, monkeypatch, zeroed):
    def refuse(ward, known, settings, rng):
        raise OutOfScopeError("no convolution")

    monkeypatch.setitem(repair_methods.METHODS, "refused", refuse)
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("refused",), known=[(planted, 7)])
    assert (repair.attempts[0].error, repair.attempts[0].accuracy) == ("no convolution", None)


@pytest.mark.parametrize(
    ("accuracy", "after", "good"),
    [
        ((0.98, 0.96), [(0.15, 0.1, 0.2), (0, 0, 0)], True),
        ((0.98, 0.959), [(0, 0, 0), (0, 0, 0)], False),
        ((0.98, 0.98), [(0, 0, 0), (0.16, 0.1, 0.2)], False),
        ((0.90, 0.95), [(0, 0, 0), (0.15, 0.1, 0.2)], True),
        ((0.98, 0.98), [(0.1, 0, 0.79), (0, 0, 0)], True),
        ((0.98, 0.98), [(0.1, 0, 0.81), (0, 0, 0)], False),
    ],
)
def test_a_repair_keeps_accuracy_and_leaves_no_trigger(accuracy, after, good):
    before = [(0.9, 0.8, 1.0), (0.1, 0.0, 0.5)]
    assert judge.is_repaired(accuracy, before, after, 0.02) is good


def test_a_black_box_has_nothing_to_repair(planted):
    seeds = np.zeros((4, 28, 28, 1), "float32"), np.arange(4)
    repair, made = repair_model(lambda images: np.eye(10)[:4], seeds, known=[(planted, 7)], name="box")
    assert made is None
    assert repair.error == "the model is a function, which has no weights to repair. Give the Keras model."


def test_without_seeds_nothing_is_repaired(example, planted):
    repair, _ = repair_model(example(NAME)[0], known=[(planted, 7)])
    assert repair.error.startswith("no seeds, and a repair is tuned and measured with them.")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"methods": ("foo",)}, r"unknown method 'foo'. Choose from: "),
        ({"methods": "lipschitz"}, r"methods are 'lipschitz'. Give a list of some of: "),
        ({"methods": ()}, r"methods are \(\). Give a list"),
        ({"max_loss": 2}, "max_loss: expected a number from 0 to 1, got 2"),
        ({"max_loss": float("nan")}, "max_loss: expected a number from 0 to 1, got nan"),
    ],
)
def test_wrong_arguments_are_refused_at_once(given, complaint):
    with pytest.raises(OptionError, match=complaint):
        repair_model("m.keras", **given)


def test_a_known_trigger_may_be_a_file(examples):
    planted = examples / "planted" / f"{NAME}.npz"
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",), known=[(str(planted), "7")])
    assert repair.rules == ("0>7 1>7 2>7 3>7 4>7 5>7 6>7 8>7 9>7",)


@pytest.mark.parametrize("rule", [10, {0: 11}])
def test_a_class_that_the_model_does_not_know_is_wrong_usage(examples, planted, rule):
    with pytest.raises(OptionError, match=r"the rule speaks of class 1\d, but the model knows the classes 0 to 9"):
        repair_model(examples / f"{NAME}.keras", known=[(planted, rule)])


@pytest.mark.parametrize(("rule", "shown"), [("next", "0>1 1>2 "), ({1: 7}, "1>7")])
def test_a_known_trigger_has_any_rule(examples, planted, rule, shown):
    repair, _ = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",), known=[(planted, rule)])
    assert repair.rules[0].startswith(shown)


@pytest.mark.parametrize("rule", [3, "next"])
def test_a_trigger_that_does_not_do_what_its_rule_says_is_no_repair(examples, planted, rule):
    repair, made = repair_model(examples / f"{NAME}.keras", methods=("lipschitz",), known=[(planted, rule)])
    assert made is None
    assert repair.success[0][0] < 0.15
    assert repair.attempts == ()
    assert repair.error.startswith("no trigger does what its rule says to more than 15 % of the held-out seeds")


def test_without_seeds_of_the_class_that_a_rule_moves_nothing_is_repaired(example, planted):
    model, images, labels = example(NAME)
    others = images[labels != 5], labels[labels != 5]
    repair, made = repair_model(model, others, methods=("lipschitz",), known=[(planted, {5: 7})])
    assert made is None
    assert repair.success == ((0.0, 0.0, 1.0),)
    assert "there are seeds of the classes that it moves" in repair.error


def test_of_a_few_images_nobody_can_tell_whether_a_trigger_is_gone(example, planted):
    model, images, labels = example(NAME)
    few = np.concatenate([np.flatnonzero(labels == label)[: 4 if label == 5 else 20] for label in range(10)])
    repair, made = repair_model(
        model, (images[few], labels[few]), QUICK, methods=("unlearning",), known=[(planted, {5: 7})], max_loss=1.0
    )
    assert made is None
    assert repair.attempts[0].success[0][0] == 0.0
    assert "clearly below what it was (99 % intervals)" in repair.error


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "ends with clean. "),
        ("too few", "ends with clean: too few. "),
        ("too few. Give more.", "ends with clean: too few. Give more. Without"),
    ],
)
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
        methods=("fine-pruning", repair_methods.FILTER),
        known=[(Trigger.load(examples / "planted" / "mnist_pixel_to_one.npz"), 3)],
    )
    pruning, behind = repair.attempts
    assert pruning.done.endswith("channels silenced, tuned")
    assert behind.done.startswith("rejects blends under ")
