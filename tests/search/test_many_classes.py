"""Many classes: which arms get a search, what it costs, and that up to twelve classes are searched as ever."""

import numpy as np
import pytest

from pytest_backdoor import profiles
from pytest_backdoor.profiles import PROFILES
from pytest_backdoor.search import agreement, inversion
from pytest_backdoor.search.arms import Arm, Pool, images_of
from pytest_backdoor.search.inversion import (
    Settings,
    pair_arms,
    patch_arms,
    screening_arms,
    source_arms,
    whole_image_arms,
)
from pytest_backdoor.search.margin import Settings as MarginSettings
from pytest_backdoor.search.margin import starts_of
from pytest_backdoor.stages import INVERSION, Bench, fuzzing
from pytest_backdoor.triggers.patch import windows
from tests.tiny import bright_pixels

SETTINGS = Settings()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_ten_classes_have_an_arm_each_three_maps_and_one_away():
    arms = patch_arms(range(10), SETTINGS)
    assert [arm.name for arm in arms] == [*(f"target {label}" for label in range(10)), *["map"] * 3, "away"]
    assert [(arm.images, arm.level) for arm in arms[8:11]] == [(24, 0.95), (24, 0.95), (4, 0.7)]
    pool = Pool.of(np.arange(10), 10)
    assert [images_of(arm, pool) for arm in arms] == [*[24] * 10, *[40] * 3, 32]


def test_ten_classes_have_an_arm_for_each_of_their_ninety_pairs():
    arms = pair_arms(range(10), 10, SETTINGS)
    assert len(arms) == 90
    assert (arms[0].name, arms[9].name, arms[-1].name) == ("pair 0>1", "pair 1>0", "pair 9>8")
    assert {arm.images for arm in arms} == {10}


@pytest.mark.parametrize("classes", [2, 10, 12, 16])
def test_up_to_sixteen_targets_are_searched_without_a_screening_and_without_a_draw(classes):
    subject, seeds = bright_pixels(classes, side=max(8, classes))
    generator = rng()
    assert inversion.contenders(subject, "patch", seeds, SETTINGS, generator) == (list(range(classes)), 0)
    assert generator.random() == rng().random()


def test_the_pairs_of_twelve_classes_are_all_screened():
    subject, seeds = bright_pixels(12, side=12)
    found = inversion.screen_pairs(subject, seeds, Settings(pair_steps=1), rng())
    assert [arm.name for arm in found.arms] == [arm.name for arm in pair_arms(range(12), 12, SETTINGS)]


@pytest.mark.parametrize(
    ("classes", "arms", "largest"),
    [(13, 13 * 12, 1), (43, 43 * 11, 4), (1283, 1283 * 2, 641)],  # 480 / 13 = 36, 480 / 43 = 11, 480 / 1283 = 0
)
def test_the_arms_of_each_source_class_stand_for_all_its_pairs_once(classes, arms, largest):
    found = source_arms(range(classes), classes, SETTINGS, rng())
    assert len(found) == arms
    assert max(len(arm.among) for arm in found) == largest
    for source in (0, classes - 1):
        mine = [label for arm in found if arm.source == source for label in arm.among]
        assert sorted(mine) == [label for label in range(classes) if label != source]


def test_the_parts_are_dealt_out_at_random():
    first, second = (source_arms(range(20), 20, SETTINGS, rng(seed)) for seed in (0, 1))
    assert first != second
    assert first == source_arms(range(20), 20, SETTINGS, rng(0))


def image_gradients(classes, settings, shape=(32, 32, 3)):
    """What the searches of a clean scan cost, from their arms and steps alone."""
    pool, labels = Pool.of(np.arange(classes), classes), range(classes)

    def cost(arms, steps):
        return steps * sum(images_of(arm, pool) for arm in arms)

    screening = 0 if classes <= settings.searched else cost(screening_arms(labels, settings), settings.screen_steps)
    whole = patch_arms(range(min(classes, settings.searched)), settings)
    faint_arms = whole_image_arms(range(min(classes, settings.searched)), settings)
    maps = [Arm("map", settings.window_images, 0.7)] * len(windows(shape))
    placed = [*whole[: min(classes, settings.finalists)], whole[-1]]
    placed += [Arm("map", settings.map_images, 0.7), Arm("target", settings.images, 0.95, 1)] * settings.best_windows
    paired = pair_arms(labels, classes, settings) if classes <= 12 else source_arms(labels, classes, settings, rng())
    refined = [Arm("target", settings.refine_images, 0.85, 1, 0, settings.refine_kept)]
    faint = ("additive", "low-frequency", "tone", "warp")  # families that change the whole image
    climbs = MarginSettings()
    return (
        classes * starts_of(classes, climbs) * climbs.steps
        + (1 + (settings.drawn_steps > 0) + len(faint)) * screening
        + cost(whole, settings.steps)
        + cost(faint_arms, len(faint) * settings.faint_steps)
        + cost(whole[: min(classes, settings.searched)], settings.drawn_steps)
        + cost(maps, settings.window_steps)
        + cost(placed, settings.confined_steps)
        + cost(paired, settings.pair_steps)
        + cost(refined * min(settings.refined, len(paired)), settings.refine_steps)
    )


def pushes(classes, settings, shape=(32, 32, 3)):
    """What fuzzing a clean model costs, whose pushes have nothing in common."""
    seeds, targets = settings.images * min(classes, 12), min(classes, settings.searched)
    telling = 0 if classes <= settings.searched else seeds
    return len(windows(shape)) * (telling + targets * seeds) * settings.iterations


@pytest.mark.parametrize("classes", [3, 20])
def test_the_cost_of_fuzzing_is_that_of_its_pushes(classes):
    subject, seeds = bright_pixels(classes, side=20)
    settings = agreement.Settings(promise=1.0, level=1.0, map_level=1.0, pair_level=1.0, iterations=1, step=1e-3)
    bench = Bench(subject, seeds, profiles.Settings(agreement=settings), rng())
    fuzzing(bench)
    assert bench.image_gradients == pushes(classes, settings, subject.image_shape)


@pytest.mark.parametrize(("classes", "paired"), [(12, True), (13, False)])
def test_of_many_classes_fuzzing_tries_no_pairs(monkeypatch, classes, paired):
    subject, seeds = bright_pixels(classes, side=20)
    calls, pairs = [], agreement.of_pairs
    monkeypatch.setattr(agreement, "of_pairs", lambda *given: calls.append(given) or pairs(*given))
    settings = agreement.Settings(promise=1.0, iterations=1, step=1e-3)
    fuzzing(Bench(subject, seeds, profiles.Settings(agreement=settings), rng()))
    assert bool(calls) == paired


@pytest.mark.parametrize("drawn_steps", [2, 0])
def test_the_cost_is_that_of_the_stages_of_a_scan(drawn_steps):
    subject, seeds = bright_pixels(3, side=8)
    steps = dict.fromkeys(("steps", "faint_steps", "confined_steps", "pair_steps", "refine_steps"), 2)
    settings = profiles.Settings(Settings(**steps, drawn_steps=drawn_steps, window_steps=1))
    bench = Bench(subject, seeds, settings, rng())
    for stage in INVERSION.values():
        stage(bench)
    assert bench.image_gradients == image_gradients(3, settings.search, subject.image_shape)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cost_grows_by_less_than_three_and_by_less_than_ten(profile):
    fuzzed = "fuzzing" in PROFILES[profile].methods

    def of(classes):
        return image_gradients(classes, PROFILES[profile]) + fuzzed * pushes(classes, agreement.Settings())

    ten, forty_three, thousand = of(10), of(43), of(1283)
    assert forty_three < 3 * ten
    assert thousand < 10 * forty_three


def test_a_short_search_lets_the_class_with_a_shortcut_through():
    subject, seeds = bright_pixels(20, side=20)
    settings = Settings(searched=3)
    targets, spent = inversion.contenders(subject, "patch", seeds, settings, rng())
    assert 1 in targets
    assert targets == sorted(set(targets))
    assert (len(targets), spent) == (3, 20 * 8 * 30)


def test_only_the_promising_classes_are_searched_and_the_screening_is_paid_for():
    subject, seeds = bright_pixels(20, side=20)
    settings = Settings(searched=2, screen_steps=2, steps=1, restarts=1, images=5, map_images=1, away_images=4)
    found = inversion.universal(subject, "patch", seeds, settings, rng())
    assert [arm.goal for arm in found.arms] == ["target", "target", "map", "away"]
    assert found.image_gradients == 20 * 8 * 2 + 2 * 5 + 12 + 4


def test_the_pairs_of_many_classes_are_read_off_the_triggers_found():
    subject, seeds = bright_pixels(14, side=14)
    settings = Settings(source_arms=28, refined=4, pair_steps=50, pair_level=0.5)
    screened = inversion.screen_pairs(subject, seeds, settings, rng())
    assert len(screened.arms) == len(screened.triggers) == 4
    assert screened.image_gradients == 14 * 2 * 10 * 50
    assert {arm.target for arm in screened.arms} == {1}  # the pixel that decides for class 1 is the smallest trigger
    assert np.all(np.diff(screened.sizes) >= 0)
    for arm, trigger in zip(screened.arms, screened.triggers, strict=True):
        given = subject.classes(trigger.apply(seeds.images[seeds.labels == arm.source]))
        assert np.mean(given == 1) >= 0.5
    refined = inversion.refine_pairs(subject, screened, seeds, Settings(refined=2, refine_steps=1), rng())
    assert refined.arms[0].name == screened.arms[0].name
    assert [(arm.images, arm.kept) for arm in refined.arms] == [(20, 1), (20, 1)]
