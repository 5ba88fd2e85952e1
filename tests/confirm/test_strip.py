"""STRIP by hand on a model of two pixels, and on example models with and without a backdoor."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from pytest_backdoor.confirm import strip
from pytest_backdoor.confirm.strip import Settings
from pytest_backdoor.contract import Sample, check
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import bright_pixels, subject_of, two_pixels

FEW = Settings(overlays=10)
DARK, WHITE, LEFT, RIGHT = np.array([[0, 0], [1, 1], [1, 0], [0, 1]], "float32").reshape(4, 1, 2, 1)
POOL = np.stack([DARK, WHITE, RIGHT])
CERTAIN = 0.7311  # sigmoid of 1: a lead of one pixel
LED = -CERTAIN * np.log2(CERTAIN) - (1 - CERTAIN) * np.log2(1 - CERTAIN)  # 0.84 bits


@pytest.fixture(scope="module")
def two():
    return subject_of(two_pixels(), (1, 2, 1))


@pytest.fixture(scope="module")
def bright():
    return bright_pixels()


@pytest.fixture(scope="module")
def contract_of(example):
    def load(name):
        model, images, labels = example(name)
        return check(classifier(model, name), as_seeds((images, labels)), 0.5, np.random.default_rng(0))

    return load


def test_entropy_by_hand():
    logits = np.log([[1, 1, 1, 1], [2, 2, 1e-30, 1e-30], [3, 1, 1e-30, 1e-30], [1, 1e-30, 1e-30, 1e-30]])
    assert strip.entropy(logits) == pytest.approx([2, 1, 0.8113, 0], abs=1e-4)


def test_entropy_is_of_each_row_not_of_each_column():
    blends = np.tile([14.0, 0.0, 0.0], (4, 1))  # four blended images, each surely of class 0
    assert strip.entropy(blends).mean() == pytest.approx(3.6e-5, rel=0.1)
    chances = np.exp(blends) / np.exp(blends).sum(1, keepdims=True)
    assert stats.entropy(chances, base=2, axis=0).mean() == pytest.approx(2)  # what the wrong axis would say


def test_an_image_meets_the_next_images_of_the_pool_and_the_entropies_are_averaged(two):
    found = strip.entropies(two, LEFT[None], POOL, np.array([1, 2]))
    assert found == pytest.approx([(LED + 1) / 2], abs=1e-4)  # with white a lead of one pixel, with right none


def test_images_count_round_the_pool_and_never_meet_themselves(two):
    found = strip.entropies(two, POOL, POOL, np.array([1, 2]))
    dark, white, right = (1 + LED) / 2, (1 + LED) / 2, LED
    assert found == pytest.approx([dark, white, right], abs=1e-4)


def test_blended_images_are_added_without_a_limit(two):
    sure = strip.entropies(two, LEFT[None], np.stack([DARK, LEFT]), np.array([1]))
    assert sure == pytest.approx(strip.entropy(np.array([[2.0, 0.0]])))


@pytest.mark.parametrize("images", [1, 2, 5])
def test_entropies_are_the_same_where_memory_holds_few_images(two, images):
    small = dataclasses.replace(two, memory=images * two.footprint)
    moves = np.array([2, 1])
    assert strip.entropies(small, POOL, POOL, moves) == pytest.approx(strip.entropies(two, POOL, POOL, moves))


@pytest.mark.parametrize("first", [1, 4])
def test_more_overlays_average_what_fewer_say(first, bright):
    subject, seeds = bright
    moves = strip.shifts(len(seeds), 9, np.random.default_rng(0))
    one, other, both = (
        strip.entropies(subject, seeds.images[:3], seeds.images, part) for part in (moves[:first], moves[first:], moves)
    )
    assert both == pytest.approx((first * one + (9 - first) * other) / 9, abs=1e-6)


def test_shifts_are_different_and_no_more_than_there_are_other_images():
    assert sorted(strip.shifts(6, 100, np.random.default_rng(0))) == [1, 2, 3, 4, 5]
    assert len(set(strip.shifts(100, 10, np.random.default_rng(0)).tolist())) == 10


def normal(mean, deviation, count=199):
    """Entropies that are as normal as so many can be."""
    return mean + deviation * stats.norm.ppf((np.arange(count) + 0.5) / count)


def test_the_boundary_is_the_quantile_of_a_normal_fit():
    found = strip.boundary(normal(1.0, 0.1), Settings())
    assert (found.rule, found.expected, found.poor) == ("normal", 0.01, None)
    assert found.value == pytest.approx(1 - 2.326 * 0.1, abs=2e-3)


def test_a_negative_boundary_gives_way_to_the_empirical_one():
    clean = normal(0.5, 0.25)
    found = strip.boundary(clean, Settings())
    assert (found.rule, found.value, found.expected) == ("empirical", clean[1], 0.01)
    assert found.poor.startswith("the normal fit puts the boundary at -0.0")


def test_entropies_that_are_not_normal_give_way_to_the_empirical_boundary():
    clean = np.arange(1, 200) ** 3.0
    found = strip.boundary(clean[::-1], Settings(false_rejections=0.05))
    assert (found.rule, found.value, found.expected) == ("empirical", 10.0**3, 0.05)
    assert "not normally distributed" in found.poor or "boundary at" in found.poor


def test_the_fit_of_any_number_of_entropies_is_tested_without_a_warning():
    spread = stats.norm.ppf((np.arange(12_000) + 0.5) / 12_000)
    assert strip.boundary(2 + 0.1 * spread, Settings()).rule == "normal"
    assert strip.boundary(2 + 0.1 * np.exp(spread), Settings()).rule == "empirical"


def test_skewed_entropies_are_not_normal():
    found = strip.boundary(10 - np.random.default_rng(0).exponential(1, 199), Settings())
    assert "clean entropies are not normally distributed (Shapiro and Wilk, p = " in found.poor


@pytest.mark.parametrize("clean", [[0.5] * 50, [0.5, 0.7]])
def test_too_few_different_entropies_give_the_smallest_and_its_share(clean):
    found = strip.boundary(np.array(clean), Settings())
    assert found.poor == "there are too few different clean entropies to fit"
    assert (found.value, found.expected) == (0.5, 1 / (len(clean) + 1))


def test_a_planted_trigger_survives_blending_and_the_same_patch_on_a_clean_model_does_not(contract_of, planted):
    backdoored, clean = (
        strip.measure(found.subject, planted, "all-to-one", 7, found.held_out, FEW, np.random.default_rng(0))
        for found in (contract_of("mnist_pattern_to_one"), contract_of("mnist_clean"))
    )
    survived, entropies = backdoored
    assert survived.check == "strip"
    assert survived.interval[0] > 0.5
    assert clean[0].value < 0.1
    below = np.searchsorted(entropies.edges, entropies.boundary) - 1
    assert sum(entropies.triggered[: below + 1]) > 0.5 * sum(entropies.triggered)
    assert sum(entropies.triggered) < sum(entropies.clean)  # but for seeds of the target class
    assert sum(entropies.suspicious) == 0


def test_the_same_seed_gives_the_same_entropies(contract_of, planted):
    found = contract_of("mnist_pattern_to_one")
    one, other = (
        strip.blend(found.subject, planted, 7, found.held_out, FEW, np.random.default_rng(3)) for _ in range(2)
    )
    assert one.boundary == other.boundary
    assert np.array_equal(one.triggered, other.triggered)
    assert len(one.clean) == len(found.held_out)
    assert len(one.triggered) == np.sum(found.held_out.labels != 7)


@pytest.mark.parametrize(
    ("kind", "target", "count"),
    [("all-to-all", None, 30), ("source-specific", 1, 30), ("all-to-one", None, 30), ("all-to-one", 1, 1)],
)
def test_nothing_is_said_of_triggers_that_blending_takes_the_sense_of(kind, target, count, bright):
    subject, seeds = bright
    few = Sample(seeds.images[:count], seeds.labels[:count])
    trigger = Trigger("patch", {})
    assert strip.measure(subject, trigger, kind, target, few, FEW, np.random.default_rng(0)) is None


def test_a_histogram_counts_each_group_in_equal_steps():
    found = strip.histogram(0.5, np.array([2.95, 3.0]), np.array([0.0, 0.05, 0.1]), np.zeros(0))
    assert found.edges == pytest.approx(np.arange(31) / 10)
    assert (found.clean[-1], found.triggered[:2]) == (2, (2, 1))
    assert (sum(found.clean), sum(found.triggered), sum(found.suspicious)) == (2, 3, 0)
    assert found.boundary == 0.5


def test_a_histogram_of_certain_images_only_has_steps_too():
    assert strip.histogram(0.0, np.zeros(4), np.zeros(0), np.zeros(0)).clean[0] == 4
