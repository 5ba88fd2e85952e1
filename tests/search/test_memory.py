"""What fits memory, by hand: runs of arms, samples of seeds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor.contract import Sample
from pytest_backdoor.search.arms import Arm, Pool, images_of
from pytest_backdoor.search.memory import batches, bounded


def rng(seed=0):
    return np.random.default_rng(seed)


def sample(labels):
    return Sample(np.arange(len(labels), dtype="float32").reshape(-1, 1, 1, 1), np.array(labels))


def test_arms_run_together_until_the_next_one_is_too_many():
    pool = Pool.of(np.repeat([0, 1, 2], 10), 3)
    arms = [*[Arm("target", 12, 0.95, target=label) for label in range(3)], Arm("map", 10, 0.7), Arm("away", 1, 0.7)]
    assert [images_of(arm, pool) for arm in arms] == [12, 12, 12, 30, 1]
    assert batches(arms, pool, 25) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert batches(arms, pool, 67) == [slice(0, 5)]


def test_seeds_that_fit_are_taken_as_they_are_and_nothing_is_drawn():
    seeds, generator = sample([0, 1, 1]), rng()
    assert bounded(seeds, 3, generator) is seeds
    assert generator.random() == rng().random()


def test_seeds_that_do_not_fit_are_sampled_evenly_by_class():
    fewer = bounded(sample([0] * 90 + [1] * 5 + [2]), 7, rng())
    assert np.bincount(fewer.labels).tolist() == [3, 3, 1]
    assert fewer.images.ravel().tolist() == sorted(set(fewer.images.ravel().tolist()))


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=40), limit=st.integers(1, 50))
def test_every_class_keeps_a_seed_and_every_seed_its_label(labels, limit):
    seeds = sample(labels)
    fewer = bounded(seeds, limit, rng())
    assert set(fewer.labels) == set(labels)
    assert len(fewer) == min(len(labels), max(limit, len(set(labels))))
    assert all(labels[int(image)] == label for image, label in zip(fewer.images.ravel(), fewer.labels, strict=True))
