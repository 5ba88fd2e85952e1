"""Scans of a linear model and of its twin with one deciding pixel, and the success of known triggers on them."""

import dataclasses
import json
import re
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pytest_backdoor import deadline
from pytest_backdoor import scan as scanning
from pytest_backdoor.attacks import all_to_one, pixel
from pytest_backdoor.errors import ContractError, TriggerError
from pytest_backdoor.options import Options
from pytest_backdoor.scan import generator, scan, trigger_success
from pytest_backdoor.stages import stages
from tests.deciding import (
    CLASSES,
    FAR,
    INERT,
    PLACE,
    PLANTED,
    SECOND,
    SHAPE,
    SHORT,
    SIDE,
    TARGET,
    model,
    seeds_of_rows,
    sixty_clean,
)
from tests.tiny import linear

NO_GRADIENTS = "the model is a function without gradients, which trigger inversion needs. Give the Keras model."


@pytest.fixture(scope="module")
def seeds():
    return seeds_of_rows()


@pytest.fixture(scope="module")
def backdoored(seeds):
    return scan(model(deciding=60.0), seeds, SHORT, name="planted")


def test_the_deciding_pixel_is_a_backdoor_to_its_class(backdoored):
    (finding,) = backdoored.findings
    assert (backdoored.verdict, backdoored.error, backdoored.path) == ("backdoor", None, "planted")
    assert (finding.kind, finding.target, finding.rule) == ("all-to-one", TARGET, "BD301")
    assert (finding.pixels, finding.size) == (1, pytest.approx(1 / SIDE**2, abs=1e-6))
    assert np.argwhere(finding.trigger.arrays["mask"][..., 0] == 1).tolist() == [list(PLACE)]


def test_a_finding_holds_on_held_out_seeds_and_its_chance_is_below_alpha(backdoored):
    (finding,) = backdoored.findings
    assert finding.attack_success == (1.0, pytest.approx(0.005 ** (1 / 50)), 1.0)  # 10 of each of the 5 other classes
    assert backdoored.p_value <= 0.01
    assert backdoored.score == pytest.approx(-np.log10(backdoored.p_value), abs=1e-3)


def test_a_trigger_that_few_seeds_show_but_cannot_prove_is_named_and_is_no_verdict(seeds):
    images, labels = seeds
    result = scan(model(deciding=60.0), (images[::5], labels[::5]), SHORT)  # 2 of each of the 5 other classes held out
    assert (result.verdict, result.findings) == ("inconclusive", ())
    told = rf"too few seeds to be sure: the \w+ search found a trigger to class {TARGET} that is unusual for a clean "
    assert re.match(told + r"model \(p-value \S+ if it holds\) and works on 100% of the held-out seeds", result.error)
    assert result.error.endswith(
        f". Of so few that proves {0.005 ** (1 / 10):.0%}, and 80% are needed. Give more seeds: where it works on as "
        "many, 24 of the other classes prove it, held out as half of the seeds are."
    )
    assert result.p_value > 0.01


def test_searches_after_a_verdict_are_skipped_and_say_so(backdoored):
    names = "additive, low-frequency, tone, warp, generator, pair"
    assert backdoored.skipped == (f"{names} searches: not needed, a backdoor was found before",)


def test_an_exhaustive_scan_skips_nothing_and_judges_the_same(seeds, backdoored):
    result = scan(model(deciding=60.0), seeds, dataclasses.replace(SHORT, exhaustive=True), name="planted")
    assert result.skipped == ()
    assert result.image_gradients > backdoored.image_gradients
    assert [finding.target for finding in result.findings] == [TARGET]
    assert (result.p_value, result.statistics) == (backdoored.p_value, backdoored.statistics)


@pytest.fixture
def reference(tmp_path):
    return sixty_clean(tmp_path)


def test_by_plain_rules_no_further_backdoor_is_named(seeds):
    assert len(scan(model(deciding=60.0, second=50.0), seeds, SHORT).findings) == 1


def test_a_model_with_two_backdoors_shows_both(seeds, reference):
    result = scan(model(deciding=60.0, second=50.0), seeds, dataclasses.replace(SHORT, reference=reference))
    places = {each.target: np.argwhere(each.trigger.arrays["mask"][..., 0] == 1).tolist() for each in result.findings}
    assert places == {TARGET: [list(PLACE)], SECOND: [list(FAR)]}
    assert all(each.p_value <= 0.01 for each in result.findings)


def test_the_same_model_without_the_pixel_is_clean(seeds):
    result = scan(model(deciding=0.0), seeds, SHORT)
    assert (result.verdict, result.error, result.findings) == ("clean", None, ())
    assert result.p_value > 0.01
    assert result.skipped == ()
    assert {"patch", "additive"} <= result.statistics.keys()
    assert (result.image_shape, result.classes, result.batch_norm) == (SHAPE, CLASSES, False)
    assert result.calibration.startswith("uncalibrated: ")


@pytest.mark.parametrize("deciding", [0.0, 60.0])
def test_a_model_that_cuts_its_images_to_black_and_white_is_not_called_clean(seeds, deciding):
    image = keras.Input(SHAPE)
    stepped = keras.Model(image, model(deciding)(keras.ops.sigmoid(2000.0 * (image - 0.25))))
    result = scan(stepped, seeds, SHORT)
    assert result.seeds.accuracy == 1.0
    assert result.verdict == "inconclusive"
    assert result.error.startswith("the search found no trigger of any size")
    assert "what hides the model's gradients" in result.error


def test_searches_that_see_nothing_though_they_do_in_all_clean_models_are_named(seeds, reference, tmp_path):
    stored = json.loads(reference.read_text())
    for entry in stored["models"]:
        entry["evidence"] |= {"pair": 0.1, "generator map": 0.0}  # the quick profile has no generators
    reference.write_text(json.dumps(stored))
    result = scan(model(deciding=0.0), seeds, dataclasses.replace(SHORT, reference=reference))
    assert result.verdict == "inconclusive"
    assert result.error.startswith("the confined, generator searches found no trigger of any size, though in every")


def test_a_budget_counts_from_the_beginning_of_the_scan(seeds, monkeypatch):
    check = scanning.check

    def slow(*given):
        time.sleep(0.3)
        return check(*given)

    monkeypatch.setattr(scanning, "check", slow)
    result = scan(model(deciding=0.0), seeds, dataclasses.replace(SHORT, budget=0.3))
    assert result.verdict == "inconclusive"
    assert result.statistics == {}


@pytest.mark.parametrize(
    ("budget", "asked", "error"),
    [
        (0.5, 1, "the budget of 0.5 s was spent before all searches were done. Raise --backdoor-budget."),
        (1.5, 2, "the budget of 1.5 s was spent before all searches were done. Raise --backdoor-budget."),
        (2.5, 3, NO_GRADIENTS),
    ],
)
def test_a_budget_ends_the_contract_check_between_two_batches(seeds, monkeypatch, budget, asked, error):
    """Each batch takes a second, and each of the three scalings of grey bytes is one batch."""
    calls, network = [], model(deciding=0.0)

    def answers(images):
        calls.append(len(images))
        return np.asarray(network(images))

    for module in (scanning, deadline):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(len(calls))))
    result = scan(answers, seeds, dataclasses.replace(SHORT, budget=budget))
    assert (result.verdict, result.error, len(calls)) == ("inconclusive", error, asked)


@pytest.mark.parametrize(
    ("steps", "given", "skipped"),
    [
        ("search.steps", True, ("patch search: the budget of 1.5 s was spent",)),
        ("margin.steps", True, ("margin, patch searches: the budget of 1.5 s was spent",)),
        ("agreement.iterations", True, ("fuzzing search: the budget of 1.5 s was spent",)),
        ("synthetic.steps", False, ()),
    ],
)
def test_a_budget_ends_a_search_that_has_begun(seeds, monkeypatch, steps, given, skipped):
    method = "fuzzing" if steps.startswith("agreement") else "inversion"
    monkeypatch.setattr(scanning, "stages", lambda methods: dict(list(stages(method).items())[:2]))
    settings = tuple((key, value) for key, value in SHORT.set if key != steps)
    options = dataclasses.replace(SHORT, budget=1.5, set=(*settings, (steps, str(10**7))))
    result = scan(model(deciding=0.0), seeds if given else None, options)
    assert result.verdict == "inconclusive"
    assert result.error == "the budget of 1.5 s was spent before all searches were done. Raise --backdoor-budget."
    assert result.skipped == skipped
    assert result.seconds < 60


def test_images_one_pixel_high_are_out_of_scope():
    rng = np.random.default_rng(0)
    images, thin = rng.random((40, 1, 4, 1)), linear(np.eye(4)[:, :2], np.zeros(2), (1, 4, 1))
    result = scan(thin, (images, images[:, 0, :2, 0].argmax(-1)), SHORT)
    assert (result.verdict, result.error) == (
        "inconclusive",
        "out of scope: images of shape (1, 4, 1) are one pixel high or wide: no place for a patch.",
    )


def test_unusual_evidence_without_a_trigger_that_explains_it_clears_no_model(seeds, monkeypatch):
    alarmed = SimpleNamespace(
        name="plain", p_value=lambda suspicions: 0.002, likeliest=lambda suspicions, alpha: None, stratum=None
    )
    monkeypatch.setattr(scanning.yardstick, "choose", lambda *about: alarmed)
    short = dataclasses.replace(SHORT, set=("search.steps=20", "search.faint_steps=5", "search.pair_steps=5"))
    result = scan(model(deciding=0.0), seeds, short)
    assert (result.verdict, result.findings, result.p_value) == ("inconclusive", (), 0.002)
    assert "(p-value 0.002), but no trigger that explains it holds on held-out seeds" in result.error


def test_two_models_in_memory_have_two_digests():
    digests = {scan(model(deciding), "no.npz").sha256 for deciding in (0.0, 60.0, 60.0)}
    assert len(digests) == 2


def test_randomness_depends_on_the_seed_and_on_the_model_and_on_nothing_else():
    drawn = [generator(seed, digest).random() for seed, digest in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_a_known_trigger_succeeds_where_it_was_planted_and_nowhere_else(seeds):
    alive = trigger_success(model(60.0), PLANTED, seeds, target=TARGET)
    assert alive == (1.0, pytest.approx(0.005 ** (1 / 100)), 1.0)
    assert trigger_success(model(60.0), INERT, seeds, target=TARGET)[0] == 0.0
    assert trigger_success(model(0.0), PLANTED, seeds, target=TARGET)[0] == 0.0


def test_success_can_be_asked_of_one_source_or_of_a_label_map(seeds):
    assert trigger_success(model(60.0), PLANTED, seeds, target=TARGET, source=2) == (
        1.0,
        pytest.approx(0.005 ** (1 / 20)),
        1.0,
    )
    mapping = all_to_one(CLASSES, TARGET) | {0: 1}
    assert trigger_success(model(60.0), PLANTED, seeds, mapping=mapping)[0] == pytest.approx(0.8)


def test_a_function_can_be_asked_too(seeds):
    planted = model(60.0)
    assert trigger_success(lambda images: np.asarray(planted(images)), PLANTED, seeds, target=TARGET)[0] == 1.0


def test_a_trigger_without_a_rule_or_for_other_images_is_refused(seeds):
    with pytest.raises(TriggerError, match=r"what should the trigger do\? Give target=, target= and source=, or map"):
        trigger_success(model(0.0), PLANTED, seeds)
    with pytest.raises(TriggerError, match=r"does not fit images \(13, 13, 1\): its mask has shape \(5, 5, 1\)"):
        trigger_success(model(0.0), pixel((5, 5, 1), 0, 0), seeds, target=TARGET)


def test_the_accuracy_that_is_wanted_holds_for_known_triggers_too(seeds):
    images, labels = seeds
    strict = dataclasses.replace(Options(), min_accuracy=0.9)
    with pytest.raises(ContractError, match=r"only \d+% of the seeds right"):
        trigger_success(model(0.0), PLANTED, (images, np.roll(labels, 10)), target=TARGET, options=strict)


def test_a_reference_that_cannot_be_read_is_an_error_before_any_search(seeds, tmp_path):
    result = scan(model(0.0), seeds, dataclasses.replace(SHORT, reference=tmp_path / "missing.json"))
    assert (result.verdict, result.image_gradients) == ("error", 0)
    assert result.error.startswith(f"no reference in {tmp_path}/missing.json: ")
