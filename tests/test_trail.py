"""What searches come to: suspicions are tried on held-out seeds one after another, each once."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor import judge, profiles
from pytest_backdoor import scan as scanning
from pytest_backdoor.calibration import Entry, Stratum
from pytest_backdoor.confirmation import Outcome
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Evidence, Finding
from pytest_backdoor.scan import _confirm, _confirm_further, scan
from pytest_backdoor.trail import Trail, doubtful
from pytest_backdoor.yardstick import Yardstick
from tests.deciding import PLANTED, SECOND, SHORT, TARGET, model, seeds_of_rows, sixty_clean


@pytest.fixture(scope="module")
def seeds():
    return seeds_of_rows()


@pytest.fixture
def reference(tmp_path):
    return sixty_clean(tmp_path)


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
