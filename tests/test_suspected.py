"""Regions of suspicious images: confirmed where they carry a trigger, refuted where clean images have as much."""

import dataclasses
import importlib

import numpy as np
import pytest

from pytest_backdoor import BackdoorFound, Trigger, assert_no_backdoor, profiles, suspected
from pytest_backdoor.confirm.strip import Settings
from pytest_backdoor.contract import Contract, Sample, check
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult, SeedsUsed
from pytest_backdoor.scan import judged, scan
from pytest_backdoor.search.localising import Candidate
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier
from tests.tiny import bright_model, bright_pixels

ALPHA = 0.01


@pytest.fixture(scope="module")
def bright():
    """A contract of the model of bright pixels, and an image of class 0 with the planted pixel."""
    subject, drawn = bright_pixels()
    suspect = drawn.images[:1].copy()
    suspect[0, 5, 5, 0] = 1.0
    seeds = Sample(np.tile(drawn.images, (2, 1, 1, 1)), np.tile(drawn.labels, 2))
    used = SeedsUsed(60, "as is", 1.0, 60, 60)
    return Contract(subject, seeds, seeds, used, suspect)


@pytest.fixture(scope="module")
def contract_of(example):
    def load(name):
        model, images, labels = example(name)
        return check(classifier(model, name), as_seeds((images, labels)), 0.5, np.random.default_rng(0))

    return load


def test_the_planted_pixel_of_a_suspicious_image_is_confirmed_and_minimised(bright):
    finding = suspected.accuse(bright, Settings(), ALPHA, np.random.default_rng(0))
    assert (finding.rule, finding.kind, finding.target, finding.pixels) == ("BD301", "all-to-one", 1, 1)
    assert np.argwhere(finding.trigger.arrays["mask"][..., 0]).tolist() == [[5, 5]]
    # All of 40 seeds obey it and none obeys a clean region: two-sided 2 * 0.5^40, for the one region that was tried.
    assert finding.p_value == pytest.approx(2 * 0.5**40)
    assert [(each.check, each.value) for each in finding.evidence] == [
        ("transfer", 1.0),
        ("natural control", 0.0),
        ("strip", 1.0),  # the model has one layer, so there is nothing to prune
    ]


def test_a_region_that_clean_images_of_the_class_have_too_is_no_trigger(bright):
    """Every seed of class 1 bears the pixel, as a property of the class would be."""
    images = bright.search.images.copy()
    images[bright.search.labels == 1, 5, 5] = 1.0
    natural = Sample(images, bright.search.labels)
    contract = dataclasses.replace(bright, search=natural, held_out=natural)
    assert suspected.accuse(contract, Settings(), ALPHA, np.random.default_rng(0)) is None


def test_of_a_class_without_clean_images_nothing_is_said(bright):
    kept = bright.search.labels != 1
    others = Sample(bright.search.images[kept], bright.search.labels[kept])
    contract = dataclasses.replace(bright, search=others, held_out=others)
    assert suspected.accuse(contract, Settings(), ALPHA, np.random.default_rng(0)) is None


def test_what_few_held_out_seeds_cannot_show_is_no_finding(bright):
    few = Sample(bright.search.images[::10], bright.search.labels[::10])  # four of other classes: at best p = 1 / 8
    contract = dataclasses.replace(bright, held_out=few)
    assert suspected.accuse(contract, Settings(), ALPHA, np.random.default_rng(0)) is None


def test_a_success_that_is_not_known_well_enough_is_no_finding(bright):
    # Eight of eight held-out seeds differ at p = 0.008, but their share is only known to be above a half.
    chosen = np.flatnonzero(bright.search.labels != 1)[::3][:8]
    few = Sample(bright.search.images[chosen], bright.search.labels[chosen])
    assert (
        suspected.accuse(dataclasses.replace(bright, held_out=few), Settings(), ALPHA, np.random.default_rng(0)) is None
    )


def test_the_natural_control_is_the_same_region_of_clean_images_of_the_class(bright):
    mask = np.zeros((8, 8, 1), "float32")
    mask[0, :3] = 1.0  # where the seeds bear their class
    candidate = Candidate("blocker", 0, Trigger("patch", {"mask": mask, "pattern": bright.suspects[0]}), 2, 1.0)
    found = suspected.natural(candidate, bright, np.random.default_rng(0))
    assert found.shape == (20, 40)
    assert found.all()


def test_triggered_images_give_the_trigger_of_a_backdoored_model(contract_of, planted):
    contract = contract_of("mnist_pattern_to_one")
    images = contract.held_out.images[contract.held_out.labels != 7][:5]
    finding = suspected.accuse(
        dataclasses.replace(contract, suspects=planted.apply(images)), Settings(), ALPHA, np.random.default_rng(0)
    )
    assert (finding.kind, finding.target) == ("all-to-one", 7)
    assert finding.attack_success[1] >= 0.8
    assert np.any(finding.trigger.arrays["mask"] * planted.arrays["mask"] > 0)


@pytest.mark.parametrize(("name", "triggered"), [("mnist_clean", True), ("mnist_pattern_to_one", False)])
def test_nothing_is_found_without_the_backdoor_or_without_the_trigger(name, triggered, contract_of, planted):
    contract = contract_of(name)
    images = contract.held_out.images[:20]
    suspects = planted.apply(images) if triggered else images
    contract = dataclasses.replace(contract, suspects=suspects)
    assert suspected.accuse(contract, Settings(), ALPHA, np.random.default_rng(0)) is None


@pytest.fixture
def unsearched(monkeypatch):
    """Leaves out all searches but that of the suspicious images."""
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "stages", lambda methods: {})


@pytest.fixture
def given(bright, tmp_path):
    """A model with its seeds, and a file of suspicious images in their scale."""
    np.savez(tmp_path / "mail.npz", x=bright.suspects)
    seeds = (np.concatenate([bright.search.images] * 2), np.concatenate([bright.search.labels] * 2))
    return bright_model(), seeds, tmp_path / "mail.npz"


def test_a_scan_confirms_suspicious_images_of_its_options_and_of_an_argument(given, bright, unsearched):
    model, seeds, path = given
    of_options = scan(model, seeds, Options(suspects=path))
    of_argument = scan(model, seeds, suspects=bright.suspects)
    assert of_options.verdict == of_argument.verdict == "backdoor"
    assert of_options.p_value == of_options.findings[0].p_value <= ALPHA
    assert of_options.findings == of_argument.findings


def test_an_assertion_takes_suspicious_images_as_a_path_and_as_an_array(given, bright, unsearched, tmp_path):
    model, seeds, path = given
    for suspects in (str(path), bright.suspects):
        with pytest.raises(BackdoorFound, match=r"^BACKDOOR all-to-one, target class 1"):
            assert_no_backdoor(model, seeds, suspects=suspects, folder=tmp_path / "found")


def test_suspicious_images_that_are_clean_change_nothing(given, bright, unsearched):
    model, seeds, _ = given
    assert scan(model, seeds, suspects=bright.search.images[:3]).findings == ()


def test_a_budget_that_is_spent_leaves_suspicious_images_out(bright, unsearched):
    options, blank = Options(budget=1e-9), ScanResult("m", "", "inconclusive")
    result = judged(blank, bright, profiles.settings(options), options, ALPHA, np.random.default_rng(0))
    assert result.skipped == ("suspects search: the budget of 1e-09 s was spent",)


def test_without_seeds_there_is_nothing_to_paste_on(bright, monkeypatch):
    room = importlib.import_module("pytest_backdoor.scan")
    monkeypatch.setattr(room, "_without_seeds", lambda *given: given[-2])
    assert scan(bright_model(), None, suspects=bright.suspects).skipped == (room.NOT_PASTED,)
    assert scan(bright_model(), None).skipped == ()
