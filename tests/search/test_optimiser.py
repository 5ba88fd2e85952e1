"""The optimiser on a model whose smallest trigger is known, and its bookkeeping by hand."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.attacks import pixel
from pytest_backdoor.search import inversion, optimiser
from pytest_backdoor.search.arms import Arm, Pool, draw
from pytest_backdoor.search.inversion import Inversion, Settings, favourite, invert, smallest
from pytest_backdoor.search.optimiser import State, advance
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.patch import windows
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import bright_pixels

PATCH = FAMILIES["patch"]
STEPS = 120


@pytest.fixture(scope="module")
def planted():
    """The model with the pixel (5, 5) that decides for class 1, and its seeds."""
    return bright_pixels()


@pytest.fixture(scope="module")
def step(planted):
    """One optimiser step, compiled once."""
    subject, seeds = planted
    compiled, shown = optimiser.compile_step(subject, PATCH), seeds.images
    return lambda state, batch: compiled(state, batch, shown)


def run(step, planted, arms, seed=0, steps=STEPS):
    subject, seeds = planted
    rng, pool = np.random.default_rng(seed), Pool.of(seeds.labels, subject.num_classes)
    state = optimiser.begin(arms, PATCH, subject.image_shape, rng)
    for _ in range(steps):
        state = step(state, draw(arms, pool, rng))
    return state


def targets(*labels):
    return [Arm("target", 12, 0.95, target=label) for label in labels]


@pytest.fixture(scope="module")
def found(step, planted):
    return run(step, planted, targets(0, 1, 2))


def test_the_deciding_pixel_is_found(found):
    mask = optimiser.triggers(found, PATCH)[1].arrays["mask"][..., 0]
    assert np.unravel_index(mask.argmax(), mask.shape) == (5, 5)
    assert np.asarray(found.best_size)[1] < 1.5


def test_the_class_with_a_shortcut_needs_less_than_the_others(found):
    sizes = np.asarray(found.best_size)
    assert sizes.argmin() == 1
    assert np.isfinite(sizes).all()


def test_a_found_trigger_does_what_its_arm_asks(found, planted):
    subject, seeds = planted
    for target, trigger in enumerate(optimiser.triggers(found, PATCH)):
        given = subject.classes(trigger.apply(seeds.images[seeds.labels != target]))
        assert np.mean(given == target) >= 0.9


def test_the_same_seed_finds_the_same_trigger(found, step, planted):
    again = run(step, planted, targets(0, 1, 2))
    assert np.array_equal(np.asarray(again.best_size), np.asarray(found.best_size))
    assert np.array_equal(np.asarray(again.best[0]), np.asarray(found.best[0]))


def test_an_arm_finds_the_same_pixel_alone_as_among_others(found, step, planted):
    alone = run(step, planted, targets(1), seed=3)
    mask = optimiser.triggers(alone, PATCH)[0].arrays["mask"][..., 0]
    assert np.unravel_index(mask.argmax(), mask.shape) == (5, 5)
    assert float(np.asarray(alone.best_size)[0]) == pytest.approx(float(np.asarray(found.best_size)[1]), rel=0.35)


def test_one_step_of_an_arm_does_not_depend_on_the_arms_beside_it(step, planted):
    subject, seeds = planted
    arms, pool = targets(1, 2), Pool.of(seeds.labels, 3)
    both = optimiser.begin(arms, PATCH, subject.image_shape, np.random.default_rng(0))
    batch = draw(arms, pool, np.random.default_rng(1))
    after = step(both, batch)
    mine = batch.arm == 0
    alone = State(*(tuple(each[:1] for each in part) if isinstance(part, tuple) else part[:1] for part in both))
    part = batch._replace(
        image=batch.image[mine],
        arm=batch.arm[mine],
        group=batch.group[mine],
        **{name: getattr(batch, name)[:1] for name in ("group_size", "group_arm", "group_share", "allowed")},
    )
    alone_after = step(alone, part)
    assert np.asarray(alone_after.params[0])[0] == pytest.approx(np.asarray(after.params[0])[0], abs=1e-5)


def test_every_arm_starts_afresh():
    state = optimiser.begin(targets(0, 0), PATCH, (8, 8, 1), np.random.default_rng(0))
    assert not np.array_equal(state.params[0][0], state.params[0][1])
    assert np.isinf(state.best_size).all()
    assert state.cost == pytest.approx([PATCH.start_cost] * 2)


def state_of(**changes):
    """Two arms with one parameter each, half way to success at step 3."""
    two, tensor = np.ones(2, "float32"), np.zeros((2, 1, 1, 1), "float32")
    params = (tensor + 1, tensor + 2)
    zeros = (tensor, tensor)
    state = State(params, zeros, zeros, (tensor - 5, tensor - 6), 9 * two, 0 * two, 0.1 * two, 0.9 * two, 3 * two)
    return state._replace(**changes)


STILL = (np.zeros((2, 1, 1, 1), "float32"),) * 2


def advanced(state, success, size, gradients=STILL):
    after = advance(state, np.array(success, "float32"), np.array(size, "float32"), gradients)
    return after._replace(
        **{name: np.asarray(getattr(after, name)) for name in ("best_size", "success", "cost", "steps")}
    )


def test_success_is_smoothed():
    state = state_of(success=np.array([0.5, 1.0], "float32"))
    assert advanced(state, [1.0, 0.0], [4, 4]).success == pytest.approx([0.6 * 0.5 + 0.4, 0.6])


def test_the_smallest_trigger_that_met_the_level_is_kept():
    state = state_of(success=np.ones(2, "float32"))
    after = advanced(state, [1, 1], [4, 12])
    assert after.best_size.tolist() == [4, 9]
    assert np.asarray(after.best[0]).ravel().tolist() == [1, -5]  # the new one of the first arm only


def test_a_smaller_trigger_below_the_level_is_not_kept():
    after = advanced(state_of(), [1, 1], [4, 4])  # smoothed to 0.4
    assert after.best_size.tolist() == [9, 9]


def test_the_cost_rises_where_the_level_is_met_and_falls_faster_where_not():
    state = state_of(success=np.array([1, 0], "float32"))
    assert advanced(state, [1, 0], [4, 4]).cost == pytest.approx([0.15, 0.1 / 1.5**1.5])


def test_the_cost_changes_every_fourth_step_and_within_its_range():
    between = state_of(steps=np.ones(2, "float32"))
    assert advanced(between, [1, 0], [4, 4]).cost == pytest.approx([0.1, 0.1])
    ends = state_of(success=np.array([1, 0], "float32"), cost=np.array([9.0, 1.2e-5], "float32"))
    assert advanced(ends, [1, 0], [4, 4]).cost == pytest.approx([10.0, 1e-5])


def test_the_first_step_of_adam_is_the_rate_in_the_direction_of_the_slope():
    fresh = state_of(steps=np.zeros(2, "float32"))
    slope = np.array([3.0, -0.2], "float32").reshape(2, 1, 1, 1)
    moved = advanced(fresh, [0, 0], [4, 4], (slope, slope))
    assert np.asarray(moved.params[0]).ravel() == pytest.approx([1 - 0.1, 1 + 0.1], abs=1e-5)


def test_an_arm_without_a_trigger_gives_its_last():
    state = state_of(best_size=np.array([np.inf, 3.0], "float32"))
    last, best = optimiser.triggers(state, PATCH)
    assert last.arrays["mask"].item() == pytest.approx(1 / (1 + np.exp(-1)))
    assert best.arrays["mask"].item() == pytest.approx(1 / (1 + np.exp(5)))


def test_the_smallest_come_first_and_those_without_a_trigger_last():
    sizes = np.array([5.0, np.nan, 2.0, 2.0, 9.0])
    assert smallest(sizes, np.arange(5), 5).tolist() == [2, 3, 0, 4, 1]
    assert smallest(sizes, np.array([0, 1, 4]), 2).tolist() == [0, 4]


def test_the_confined_search_takes_the_smallest_targets_and_the_best_windows(planted):
    subject, seeds = planted
    settings = Settings(finalists=2, best_windows=2, confined_steps=1, images=5, map_images=2, away_images=4)
    arms = tuple(
        Arm(goal, 1, 0.9, target) for goal, target in [("target", 0), ("target", 1), ("target", 2), ("away", None)]
    )
    nothing = Trigger("patch", {"mask": np.zeros((8, 8, 1), "float32"), "pattern": np.zeros((8, 8, 1), "float32")})
    sizes, success = np.array([5.0, np.nan, 2.0, np.nan]), np.zeros(4)
    found = Inversion("patch", arms, sizes, success, (nothing,) * 4, (8, 8, 1), 0)
    windowed = inversion.screen_windows(subject, seeds, Settings(window_steps=1), np.random.default_rng(0))
    scores = np.zeros(len(windowed.arms))
    scores[[3, 7]] = 0.5, 0.9
    windowed = dataclasses.replace(windowed, success=scores)
    placed = inversion.confined(subject, found, windowed, seeds, settings, np.random.default_rng(0))
    drawn = [favourite(subject, windowed.triggers[window], seeds) for window in (7, 3)]
    names = ["target 2", "target 0", "away", "map", "map", *(f"target {label}" for label in drawn)]
    assert [arm.name for arm in placed.arms] == names
    for arm, window in ((3, 7), (4, 3), (5, 7), (6, 3)):
        mask = placed.triggers[arm].arrays["mask"]
        assert np.array_equal(mask > 1e-6, windows((8, 8))[window] > 0)


def test_a_confined_arm_changes_nothing_outside_of_its_window(planted):
    subject, seeds = planted
    place = np.zeros((1, 8, 8, 1))
    place[0, 4:6, 4:6] = 1.0
    found = invert(subject, "patch", targets(1), seeds, 25, np.random.default_rng(0), place)
    outside = found.triggers[0].arrays["mask"][..., 0].copy()
    assert outside[4:6, 4:6].max() > 0.05
    outside[4:6, 4:6] = 0
    assert outside.max() < 1e-6
    assert found.image_gradients == 25 * 12


def test_arms_run_together_as_far_as_memory_allows(planted):
    subject, seeds = planted
    subject = dataclasses.replace(subject, memory=25 * subject.footprint)
    found = invert(subject, "patch", targets(0, 1, 2), seeds, 80, np.random.default_rng(0))
    assert [arm.target for arm in found.arms] == [0, 1, 2]
    assert found.sizes.argmin() == 1
    assert len(found.triggers) == len(found.success) == 3
    assert found.image_gradients == 80 * 3 * 12


def test_every_class_a_few_maps_and_one_away_arm_are_searched(planted):
    subject, seeds = planted
    settings = Settings(steps=1, restarts=2, images=5, away_images=4, map_images=2)  # three classes are not screened
    found = inversion.universal(subject, "patch", seeds, settings, np.random.default_rng(0))
    assert [arm.name for arm in found.arms] == ["target 0", "target 1", "target 2", "map", "map", "away"]
    assert np.isnan(found.sizes).all()  # one step is too few
    assert found.image_gradients == 3 * 5 + 2 * 2 * 3 + 4
    assert (found.of("map").tolist(), found.of("away").tolist()) == ([3, 4], [5])


def test_the_favourite_is_where_a_trigger_sends_most_images_of_other_classes(planted):
    subject, seeds = planted
    assert favourite(subject, pixel((8, 8, 1), 5, 5), seeds) == 1
