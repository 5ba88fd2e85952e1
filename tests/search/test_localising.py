"""Localising by hand on tiny models, and on example models with and without a backdoor."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.contract import Sample, check
from pytest_backdoor.search import localising
from pytest_backdoor.search.localising import Candidate, Settings
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import AS_IS, bright_pixels, subject_of

LARGEST = 0.15
PLANTED = (5, 5)  # of bright_pixels, for class 1


@pytest.fixture(scope="module")
def bright():
    return bright_pixels()


@pytest.fixture(scope="module")
def suspect(bright):
    """A seed of class 0 with the planted pixel, ``(1, 8, 8, 1)``."""
    image = bright[1].images[:1].copy()
    image[0, *PLANTED, 0] = 1.0
    return image


@pytest.fixture(scope="module")
def two_maps():
    """Feature maps x and 1 - x of an image of 2 x 2; logits: 3 times the first map's mean, twice the second's sum."""
    maps, head = layers.Conv2D(2, 1), layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 1)), maps, layers.Flatten(), head])
    maps.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])
    head.set_weights([np.tile([[0.75, 0.0], [0.0, 2.0]], (4, 1))])
    return subject_of(model, (2, 2, 1))


def test_heat_is_the_mean_slope_of_each_map_times_the_map(two_maps):
    image = np.array([[0.0, 0.5], [0.25, 1.0]], "float32").reshape(1, 2, 2, 1)
    both = localising.heat(two_maps, np.repeat(image, 2, 0), np.array([0, 1]))
    assert both[0] == pytest.approx(0.75 * image[0, ..., 0])
    assert both[1] == pytest.approx(2 * (1 - image[0, ..., 0]))


def test_heat_is_never_negative_and_as_large_as_the_image():
    maps, head = layers.Conv2D(1, 2, strides=2, use_bias=False), layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((4, 4, 1)), maps, layers.Flatten(), head])
    maps.set_weights([np.ones((2, 2, 1, 1))])
    head.set_weights([np.tile([[1.0, -1.0]], (4, 1))])
    images = np.ones((2, 4, 4, 1), "float32")
    found = localising.heat(subject_of(model, (4, 4, 1)), images, np.array([0, 1]))
    assert found == pytest.approx(np.stack([4 * np.ones((4, 4)), np.zeros((4, 4))]))


def test_there_is_no_heat_without_maps(bright, suspect):
    assert len(localising.heat(bright[0], suspect, np.array([1]))) == 0
    black_box = classifier(lambda images: images.mean((1, 2)), "function").subject(AS_IS, (8, 8, 1))
    assert len(localising.heat(black_box, suspect, np.array([0]))) == 0


@pytest.mark.parametrize(
    "behind",
    [
        [layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(2, 1), layers.Flatten()],
        [layers.Reshape((4, 2)), layers.Conv1D(2, 1), layers.GlobalAveragePooling1D()],
    ],
    ids=["one place", "a sequence"],
)
def test_heat_is_that_of_the_last_maps_with_places_in_the_image(behind):
    maps = layers.Conv2D(2, 1, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 1)), maps, *behind])
    maps.set_weights([np.ones((1, 1, 1, 2))])
    behind[1].set_weights([np.ones(behind[1].kernel.shape), np.zeros(2)])
    image = np.array([[0.0, 0.5], [0.25, 1.0]], "float32").reshape(1, 2, 2, 1)
    found = localising.heat(subject_of(model, (2, 2, 1)), image, np.array([0]))
    assert found[0] == pytest.approx(0.5 * image[0, ..., 0])  # two maps, each a quarter of the logit


def test_there_is_no_heat_where_no_maps_have_places_in_the_image(suspect):
    stack = [layers.Reshape((8, 8)), layers.Conv1D(2, 1), layers.GlobalAveragePooling1D()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    assert len(localising.heat(subject_of(model, (8, 8, 1)), suspect, np.array([1]))) == 0


def test_the_hottest_pixels_are_taken_first(two_maps):
    image = np.array([[0.0, 0.5], [0.25, 1.0]], "float32").reshape(1, 2, 2, 1)
    (masks,) = localising.hottest(two_maps, image, np.array([0]), 1.0)
    assert masks[..., 0].tolist() == [[[0, 0], [0, 1]], [[0, 1], [0, 1]], [[1, 1], [1, 1]]]


def test_squares_of_an_eighth_and_a_quarter_overlap_by_half():
    masks = localising.squares((16, 16))
    sizes = masks.sum((1, 2, 3))
    assert {size: int(np.sum(sizes == size)) for size in (4, 16)} == {4: 15 * 15, 16: 7 * 7}
    assert masks.max(0).min() == 1
    assert np.argwhere(masks[0, ..., 0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize("shape", [(50, 50), (100, 64), (299, 299)])
def test_squares_reach_every_pixel(shape):
    masks = localising.squares(shape)
    sides = np.sqrt(masks.sum((1, 2, 3))).round().astype(int)
    assert len(np.unique(sides)) == 2
    assert all(masks[sides == side].any(0).all() for side in np.unique(sides))


def test_the_dominant_colour_is_the_mean_of_the_commonest_shade():
    image = np.array([[[0.9, 0.1], [0.5, 0.5], [0.92, 0.12]]])
    assert localising.dominant_colour(image) == pytest.approx([0.91, 0.11])


def test_only_squares_that_change_the_answer_are_kept_the_most_decisive_first(bright, suspect):
    (masks,) = localising.decisive(bright[0], suspect, np.array([1]), LARGEST)
    assert len(masks) == 1 + 4  # one of one pixel, and of two by two those that overlap there
    assert (masks[:, *PLANTED, 0] == 1).all()


def test_no_more_squares_are_covered_at_once_than_memory_holds(bright, suspect, monkeypatch):
    small = dataclasses.replace(bright[0], memory=7 * bright[0].footprint)
    sizes, predict = [], type(small).predict
    monkeypatch.setattr(type(small), "predict", lambda self, images: sizes.append(len(images)) or predict(self, images))
    (masks,) = localising.decisive(small, suspect, np.array([1]), LARGEST)
    assert (len(masks), max(sizes)) == (5, 7)
    (all_at_once,) = localising.decisive(bright[0], suspect, np.array([1]), LARGEST)
    assert np.array_equal(masks, all_at_once)


def test_squares_larger_than_allowed_are_not_tried(bright, suspect):
    (masks,) = localising.decisive(bright[0], suspect, np.array([1]), 1 / 64)
    assert masks.sum((1, 2, 3)).tolist() == [1]


def test_the_region_with_the_planted_pixel_is_found_and_sends_all_seeds_to_its_class(bright, suspect):
    subject, seeds = bright
    (found,) = localising.candidates(subject, suspect, seeds, Settings(LARGEST), np.random.default_rng(0))
    assert (found.method, found.suspect, found.target, found.success) == ("blocker", 0, 1, 1.0)
    assert found.trigger.arrays["mask"][*PLANTED, 0] == 1
    assert found.trigger.arrays["pattern"][*PLANTED, 0] == 1


def test_a_region_is_tightened_to_the_cells_that_do_it(bright, suspect):
    subject, seeds = bright
    mask = np.zeros((8, 8, 1), "float32")
    mask[4:7, 4:7] = 1.0
    candidate = Candidate("blocker", 0, Trigger("patch", {"mask": mask, "pattern": suspect[0]}), 1, 1.0)
    tight = localising.tightened(subject, candidate, seeds)
    assert np.argwhere(tight.arrays["mask"][..., 0]).tolist() == [list(PLANTED)]


def test_a_clean_image_has_no_square_that_changes_the_answer(bright):
    subject, seeds = bright  # without its own bright pixel an image of class 0 is as dark as any
    assert localising.candidates(subject, seeds.images[:1], seeds, Settings(LARGEST), np.random.default_rng(0)) == []


def test_seeds_of_the_images_own_class_only_say_nothing(bright, suspect):
    subject, seeds = bright
    own = Sample(seeds.images[seeds.labels == 1], seeds.labels[seeds.labels == 1])
    assert localising.candidates(subject, suspect, own, Settings(LARGEST), np.random.default_rng(0)) == []


@pytest.fixture(scope="module")
def found(example, planted):
    """The candidates of a model for eight suspicious images: name, whether they bear the trigger -> candidates."""

    def find(name, triggered):
        model, images, labels = example(name)
        contract = check(classifier(model, name), as_seeds((images, labels)), 0.5, np.random.default_rng(0))
        chosen = contract.held_out.images[contract.held_out.labels != 7][:8]
        suspects = planted.apply(chosen) if triggered else chosen
        return localising.candidates(
            contract.subject, suspects, contract.search, Settings(LARGEST, seeds=30), np.random.default_rng(1)
        )

    return find


def test_both_methods_find_the_planted_patch_on_triggered_images(found):
    best = {each.method: each for each in reversed(found("mnist_pattern_to_one", triggered=True))}
    assert set(best) == {"grad-cam", "blocker"}
    assert all(each.target == 7 and each.success > 0.8 for each in best.values())


@pytest.mark.parametrize(("name", "triggered"), [("mnist_clean", True), ("mnist_pattern_to_one", False)])
def test_nothing_moves_the_seeds_without_the_backdoor_or_without_the_trigger(found, name, triggered):
    assert max((each.success for each in found(name, triggered)), default=0.0) < 0.8


def test_the_same_seed_gives_the_same_candidates(found):
    one, other = (found("mnist_pattern_to_one", triggered=True) for _ in range(2))
    assert [(each.method, each.suspect, each.success) for each in one] == [
        (each.method, each.suspect, each.success) for each in other
    ]
