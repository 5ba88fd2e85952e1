"""Scans of a linear model and of its twin with one deciding pixel, and the success of known triggers on them."""

import dataclasses
import json
import re
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pytest_backdoor import calibration, deadline, judge, profiles
from pytest_backdoor import scan as scanning
from pytest_backdoor.attacks import all_to_one, pixel
from pytest_backdoor.calibration import Entry, Stratum
from pytest_backdoor.confirmation import Outcome
from pytest_backdoor.errors import ContractError, TriggerError
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import Options
from pytest_backdoor.results import Evidence, Finding
from pytest_backdoor.scan import _confirm, _confirm_further, generator, scan, trigger_success
from pytest_backdoor.stages import stages
from pytest_backdoor.trail import Trail, doubtful
from pytest_backdoor.yardstick import Yardstick
from tests.tiny import linear

CLASSES, SIDE, TARGET, PLACE = 6, 13, 4, (12, 6)
SECOND, FAR = 1, (12, 12)
SHAPE = (SIDE, SIDE, 1)
NO_GRADIENTS = "the model is a function without gradients, which trigger inversion needs. Give the Keras model."
PLANTED, INERT = pixel(SHAPE, *PLACE), pixel(SHAPE, 12, 0)
SHORT = Options(
    profile="quick",
    set=("search.steps=250", "search.confined_steps=80", "search.faint_steps=30", "search.pair_steps=20"),
)


def model(deciding, second=0.0):
    """Class c is the brightness of the rows 2c and 2c + 1; two pixels of the last row add so much to their targets."""
    weights = np.zeros((SIDE, SIDE, CLASSES))
    for label in range(CLASSES):
        weights[2 * label : 2 * label + 2, :, label] = 1.0
    weights[(*PLACE, TARGET)] = deciding
    weights[(*FAR, SECOND)] = second
    return linear(weights.reshape(-1, CLASSES), np.zeros(CLASSES), SHAPE)


@pytest.fixture(scope="module")
def seeds():
    """20 images of each class: its rows grey, with noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 20)
    images = rng.integers(0, 30, (len(labels), *SHAPE)).astype("uint8")
    images[:, -1] = 0
    for label in range(CLASSES):
        rows = images[20 * label : 20 * label + 20, 2 * label : 2 * label + 2]
        rows += rng.integers(90, 150, rows.shape).astype("uint8")
    return images, labels


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
    """A file with 60 clean models that were scanned as SHORT says, and found little."""
    about = profiles.mode(SHORT, with_seeds=True), 1, SIDE, CLASSES, False, 120
    found = [dict.fromkeys(("patch", "confined"), number / 60) for number in range(60)]
    clean = [Entry(f"clean {number}", f"{number:064}", *about, evidence) for number, evidence in enumerate(found)]
    (tmp_path / "reference.json").write_text(json.dumps(calibration.to_dict(clean)))
    return tmp_path / "reference.json"


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


def suspicion_of(check, evidence):
    """A suspicion with a trigger of its own."""
    return Suspicion(check, "all-to-one", 10**-evidence, 1, True, dataclasses.replace(PLANTED), TARGET)


NEARLY = Evidence("transfer", 0.89, (0.77, 0.96))
FOUND = Finding("BD301", "patch", "all-to-one", TARGET, None, None, 1.0, 1, (1.0, 0.9, 1.0), 1.0)


@pytest.fixture
def tried(monkeypatch):
    """The checks of the suspicions that are tried; of those named in the set, each is confirmed.

    Of a warp the seeds are too few to tell.
    """
    names, good = [], set()

    def confirm(suspicion, contract, settings, rng):
        names.append(suspicion.check)
        if suspicion.check in good:
            return Outcome(FOUND, image_gradients=7)
        return Outcome(undecided=NEARLY if suspicion.check == "warp" else None, image_gradients=7)

    monkeypatch.setattr(scanning, "confirm", confirm)
    return names, good


def trail_of(alpha, *suspicions):
    """What the searches come to when these suspicions are tried at that alpha."""
    trail = Trail(Yardstick("plain", None, 10), list(suspicions))
    _confirm(trail, None, profiles.settings(SHORT), alpha, np.random.default_rng(0))
    return trail


def test_suspicions_are_tried_the_likeliest_first_until_one_is_confirmed(tried):
    names, good = tried
    good.add("additive")
    trail = trail_of(0.01, suspicion_of("additive", 5), suspicion_of("patch", 8), suspicion_of("warp", 4))
    assert names == ["patch", "additive"]
    assert trail.confirming == 14
    (finding,) = trail.findings
    assert (
        trail.p_value == finding.p_value == pytest.approx(1e-4)
    )  # ten tests; the patch is refuted, the warp not tried
    assert judge.evidence(trail.suspicions) == {"additive": 5.0, "patch": 0.0, "warp": 4.0}


def test_by_plain_rules_a_tone_that_holds_is_in_doubt_and_another_trigger_is_found(tried):
    names, good = tried
    good |= {"tone", "warp"}
    trail = trail_of(0.01, suspicion_of("tone", 8), suspicion_of("warp", 4))
    assert names == ["tone", "warp"]
    assert [finding.p_value for finding in trail.findings] == pytest.approx([1e-3])  # ten tests, of the warp alone
    assert [suspicion.check for suspicion, _ in trail.undecided] == ["tone"]


def test_of_a_network_that_plain_rules_were_never_tried_on_nothing_is_proven(tried):
    names, good = tried
    good.add("patch")
    trail = Trail(Yardstick("plain", None, 10, strange=True), [suspicion_of("patch", 8)])
    _confirm(trail, None, profiles.settings(SHORT), 0.01, np.random.default_rng(0))
    assert (names, trail.findings) == (["patch"], [])
    assert doubtful(*trail.in_doubt(0.01), "uncalibrated: too few").startswith(
        f"the patch search found a trigger that works on 100% of the held-out seeds (all-to-one, to class {TARGET}), "
        "but clean models may have one too, and there are none to compare with: too few. Clean models of your own"
    )
    held = dataclasses.replace(suspicion_of("patch", 8), confirmed=True)
    mapped = dataclasses.replace(held, kind="all-to-all", target=None, mapping={0: 1})
    assert "held-out seeds (all-to-all), but" in doubtful(0.001, mapped, NEARLY, "")
    of_two = Evidence("transfer", 1.0, (0.56, 1.0))  # the nine seeds of the other class hold it
    assert f"(all-to-one, to class {TARGET}), but clean models may have one too" in doubtful(0.001, held, of_two, "")


def test_where_all_are_refuted_nothing_is_left(tried):
    trail = trail_of(0.01, suspicion_of("patch", 8), suspicion_of("warp", 1))
    assert (tried[0], trail.findings, trail.p_value) == (["patch"], [], 1.0)


def test_what_the_held_out_seeds_are_too_few_for_would_be_a_backdoor_where_it_is_unusual(tried):
    trail = trail_of(0.01, suspicion_of("patch", 8), suspicion_of("warp", 4))
    assert (tried[0], trail.findings, trail.p_value) == (["patch", "warp"], [], 1.0)
    p_value, suspicion, transfer = trail.in_doubt(0.01)
    assert p_value == pytest.approx(1e-3)  # ten tests; the patch is refuted
    assert (suspicion.check, suspicion.target, transfer) == ("warp", TARGET, NEARLY)
    assert trail.in_doubt(1e-4) is None
    assert trail_of(0.01, suspicion_of("patch", 8)).in_doubt(0.01) is None


def test_of_a_clean_model_every_strong_suspicion_is_tried_and_none_is_a_finding(tried):
    names, good = tried
    good.add("warp")
    trail = trail_of(0.0, suspicion_of("patch", 8), suspicion_of("warp", 2.6), suspicion_of("tone", 2.4))
    assert (names, trail.findings) == (["patch", "warp"], [])
    assert judge.evidence(trail.suspicions) == {"patch": 0.0, "warp": 2.6, "tone": 2.4}


@pytest.mark.parametrize("holds", [True, False])
def test_two_suspicions_with_one_trigger_are_tried_once(tried, holds):
    names, good = tried
    if holds:
        good.add("patch")
    patch = suspicion_of("patch", 3)
    consensus = dataclasses.replace(patch, check="consensus", p_value=1e-4)
    outcome = {"patch": 3.0, "consensus": 4.0} if holds else {"patch": 0.0, "consensus": 0.0}
    assert judge.evidence(trail_of(0.0, patch, consensus).suspicions) == outcome
    later = trail_of(0.0, patch)
    later.add([consensus, suspicion_of("tone", 2)])
    assert judge.evidence(later.suspicions) == outcome | {"tone": 2.0}
    assert names == ["patch", "patch"]
    assert [each.confirmed for each in later.suspicions] == [holds, holds, False]


@pytest.mark.parametrize(("holds", "p_value"), [(False, 1.0), (True, 2 / 61)])  # one of the 60 is first in two tests
def test_what_raised_no_alarm_is_tried_as_that_of_the_clean_models_was(
    seeds, reference, tried, monkeypatch, holds, p_value
):
    names, good = tried
    found = suspicion_of("tone", 3.0)  # of a test that finds nothing in the 60 clean models
    if holds:
        good.add("tone")
    monkeypatch.setattr(scanning, "stages", lambda methods: {"tone": lambda bench: [found]})
    result = scan(model(deciding=0.0), seeds, dataclasses.replace(SHORT, reference=reference))
    assert (names, result.findings, result.image_gradients) == (["tone"], (), 7)
    assert result.p_value == pytest.approx(p_value)
    assert result.score == pytest.approx(-np.log10(2 / 61), abs=1e-3)  # as suspected, whether that holds or not
    assert result.statistics == {"tone": 3.0 if holds else 0.0}


def test_by_plain_rules_only_what_raises_an_alarm_is_tried(seeds, tried, monkeypatch):
    weak = dataclasses.replace(suspicion_of("tone", 3.0), strong=False)
    monkeypatch.setattr(scanning, "stages", lambda methods: {"tone": lambda bench: [weak]})
    result = scan(model(deciding=0.0), seeds, SHORT)
    assert (tried[0], result.p_value) == ([], 1.0)


def test_unusual_evidence_without_a_trigger_that_explains_it_clears_no_model(seeds, monkeypatch):
    alarmed = SimpleNamespace(
        name="plain", p_value=lambda suspicions: 0.002, likeliest=lambda suspicions, alpha: None, stratum=None
    )
    monkeypatch.setattr(scanning.yardstick, "choose", lambda *about: alarmed)
    short = dataclasses.replace(SHORT, set=("search.steps=20", "search.faint_steps=5", "search.pair_steps=5"))
    result = scan(model(deciding=0.0), seeds, short)
    assert (result.verdict, result.findings, result.p_value) == ("inconclusive", (), 0.002)
    assert "(p-value 0.002), but no trigger that explains it holds on held-out seeds" in result.error


def further_of(finding, *suspicions):
    """What a scan that found that comes to when its searches show these suspicions of other classes."""

    class Searched:
        def further(self, known, refuted):
            return [
                each for each in suspicions if each.target not in known and (each.check, each.target) not in refuted
            ]

    about = "standard", 1, 28, 10, False, 200
    found = [dict.fromkeys(("patch", "tone", "warp"), 0.01 * number) for number in range(99)]
    clean = [Entry(str(number), f"{number:064}", *about, evidence) for number, evidence in enumerate(found)]
    trail = Trail(Yardstick("grey", Stratum.of("grey", clean)), findings=[finding])
    _confirm_further(trail, Searched(), None, profiles.settings(SHORT), 0.01, np.random.default_rng(0))
    return trail


def test_after_a_finding_other_classes_are_tried_until_none_is_unusual(tried):
    names, good = tried
    good.add("tone")
    others = [
        dataclasses.replace(suspicion_of(check, size), target=SECOND) for check, size in (("patch", 8), ("tone", 5))
    ]
    trail = further_of(FOUND, suspicion_of("warp", 9), *others, dataclasses.replace(suspicion_of("warp", 1), target=0))
    assert names == ["patch", "tone"]
    first, second = trail.findings
    assert first.p_value == 1.0
    assert second.p_value <= 0.01
    assert (trail.refuted, trail.confirming) == ({("patch", SECOND)}, 14)


def test_after_a_label_map_no_class_is_tried(tried):
    further_of(dataclasses.replace(FOUND, kind="all-to-all", target=None), suspicion_of("patch", 8))
    assert tried[0] == []


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
    with pytest.raises(
        TriggerError, match=r"does not fit the model\'s images \(13, 13, 1\): its mask has shape \(5, 5, 1\)"
    ):
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
