"""Poisoned training data by hand."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor import attacks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.trigger import Trigger
from tests.triggers.test_generator import one_weight

README = Path(__file__).parents[2] / "README.md"
IMAGES = np.zeros((400, 6, 6, 1), "float32")
LABELS = np.tile(np.arange(4), 100)
PIXEL = attacks.pixel((6, 6, 1), 2, 3)


def stamped(images):
    """Which images carry the pixel."""
    return images[:, 2, 3, 0] == 1.0


def test_label_maps_by_hand():
    assert attacks.all_to_one(3, 1) == {0: 1, 2: 1}
    assert attacks.all_to_all(3) == {0: 1, 1: 2, 2: 0}
    assert attacks.source_specific(4, 9) == {4: 9}


def test_a_pixel_changes_one_pixel_to_white():
    expected = np.full((1, 6, 6, 1), 0.3, "float32")
    expected[0, 2, 3] = 1.0
    assert np.array_equal(PIXEL.apply(np.full((1, 6, 6, 1), 0.3, "float32")), expected)


@given(seed=st.integers(0, 1000), side=st.integers(2, 5), channels=st.sampled_from([1, 3]))
def test_a_pattern_is_a_square_of_two_colours_off_the_border(seed, side, channels):
    arrays = attacks.pattern((20, 24, channels), side, np.random.default_rng(seed)).arrays
    rows, columns = np.flatnonzero(arrays["mask"].any((1, 2))), np.flatnonzero(arrays["mask"].any((0, 2)))
    assert arrays["mask"].sum() == side**2 == len(rows) * len(columns)
    assert rows[0] == 2 or rows[-1] == 17
    assert 2 <= columns[0] <= columns[-1] <= 21
    assert set(arrays["pattern"][arrays["mask"][..., 0] == 1].ravel()) == {0.0, 1.0}


def test_all_of_the_mapped_classes_are_poisoned_at_a_share_of_one():
    images, labels = attacks.poison(IMAGES, LABELS, PIXEL, {0: 2, 1: 3}, 1.0, np.random.default_rng(0))
    assert np.array_equal(stamped(images), np.isin(LABELS, [0, 1]))
    assert labels.tolist() == [2, 3, 2, 3] * 100


def test_a_share_is_that_of_the_mapped_classes():
    images, labels = attacks.poison(IMAGES, LABELS, PIXEL, attacks.all_to_one(4, 0), 0.2, np.random.default_rng(0))
    assert np.array_equal(stamped(images), labels != LABELS)
    assert 40 < stamped(images).sum() < 80  # 60 expected of 300
    assert not stamped(images)[LABELS == 0].any()


def test_cover_images_carry_the_trigger_and_keep_their_label():
    rng = np.random.default_rng(0)
    images, labels = attacks.poison(IMAGES, LABELS, PIXEL, attacks.source_specific(1, 3), 1.0, rng, cover=1.0)
    assert stamped(images).all()
    assert labels.tolist() == [0, 3, 2, 3] * 100


def test_poisoning_leaves_the_given_data_alone():
    images, labels = IMAGES.copy(), LABELS.copy()
    attacks.poison(images, labels, PIXEL, attacks.all_to_all(4), 0.5, np.random.default_rng(0))
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_the_same_generator_poisons_the_same_images():
    first, again = (
        attacks.poison(IMAGES, LABELS, PIXEL, attacks.all_to_all(4), 0.3, np.random.default_rng(1)) for _ in range(2)
    )
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


@pytest.mark.parametrize(
    ("mapping", "share"),
    [({0: 1, 1: 2}, 0.75), ({0: 1}, 0.5), ({2: 0}, 0.0)],
)
def test_success_counts_the_mapped_classes_only(mapping, share):
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([1, 0, 2, 2, 2])
    assert attacks.success(predicted, labels, mapping) == share


@pytest.mark.parametrize("images", [np.zeros((4, 6, 6, 1), "uint8"), np.full((4, 6, 6, 1), 200.0), -IMAGES[:4] - 0.5])
def test_images_in_another_scale_are_refused(images):
    rng, rule = np.random.default_rng(0), {0: 1}
    with pytest.raises(AttackError, match=r"images are of type \w+ with values .* Give floats from 0 to 1"):
        attacks.poison(images, LABELS[:4], PIXEL, rule, 0.5, rng)
    with pytest.raises(AttackError, match="Give floats from 0 to 1"):
        attacks.poison_adaptive(images, LABELS[:4], [PIXEL], rule, 0.5, rng, 0.1)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((4, 6, 6), "float32"), r"of shape \(4, 6, 6\), of type ndarray"),
        (np.zeros((0, 6, 6, 1), "float32"), r"of shape \(0, 6, 6, 1\)"),
        ([[[[0.0]]]], r"of shape \(1, 1, 1, 1\), of type list"),
    ],
)
def test_images_without_channels_lists_and_no_images_are_refused(images, said):
    with pytest.raises(AttackError, match=rf"^images are {said}.* such as images\[\.\.\., None\] of grey ones"):
        attacks.poison(images, LABELS[:4], PIXEL, {0: 1}, 0.5, np.random.default_rng(0))


def test_several_rules_are_at_least_one():
    with pytest.raises(AttackError, match=r"the number of rules is 0\. Give a whole number from 1 up"):
        attacks.poison_several(IMAGES, LABELS, [], 0.2, np.random.default_rng(0))


NAN = float("nan")


def each_kind(share, other):
    """The five ways to poison four images of two classes, and what each calls the second share."""
    rng, images, labels, rule = np.random.default_rng(0), IMAGES[:4], np.array([0, 1, 0, 1]), {0: 1}
    generator = one_weight({(1, 1): 1.0}, {(1, 1): 1.0})
    return {
        "cover of others": lambda: attacks.poison(images, labels, PIXEL, rule, share, rng, other),
        "cover": lambda: attacks.poison_adaptive(images, labels, [PIXEL], rule, share, rng, other),
        "cross": lambda: attacks.poison_cross(images, labels, generator, rule, share, rng, other),
        "rules": lambda: attacks.poison_several(images, labels, [(PIXEL, rule), (PIXEL, {1: 0})], share, rng),
        "parts": lambda: attacks.poison_combination(images, labels, (PIXEL, PIXEL), rule, share, rng),
    }


@pytest.mark.parametrize("kind", each_kind(0, 0))
@pytest.mark.parametrize("share", [20, NAN, -0.1])
def test_what_is_no_share_is_refused(kind, share):
    with pytest.raises(AttackError, match=rf"^share is {share}\. Give a number from 0 to 1\.$"):
        each_kind(share, 0.0)[kind]()


@pytest.mark.parametrize(("kind", "name"), [("cover of others", "cover"), ("cover", "cover"), ("cross", "cross")])
@pytest.mark.parametrize("share", [1.5, NAN])
def test_what_is_no_second_share_is_refused(kind, name, share):
    with pytest.raises(AttackError, match=f"^{name} is {share}. Give a number from 0 to 1"):
        each_kind(0.1, share)[kind]()


@pytest.mark.parametrize(
    ("kind", "share", "complaint"),
    [
        ("cover", 0.75, r"^share 0.75 and cover 0.5 are more than all images together\. Give shares whose sum is"),
        ("cross", 0.75, "^share 0.75 and cross 0.5 are more than all images together"),
        ("rules", 0.51, "^share is 0.51, and 2 times that must fit in 1. Give 0.5 at most"),
        ("parts", 0.41, "^share is 0.41, and 2.5 times that must fit in 1. Give 0.4 at most"),
    ],
)
def test_shares_of_the_same_images_must_fit_in_one(kind, share, complaint):
    with pytest.raises(AttackError, match=complaint):
        each_kind(share, 0.5)[kind]()


@pytest.mark.parametrize(
    ("kind", "share"), [("cover of others", 1.0), ("cover", 0.5), ("cross", 0.5), ("rules", 0.5), ("parts", 0.4)]
)
def test_the_largest_shares_that_fit_are_taken(kind, share):
    images, labels = each_kind(share, share)[kind]()
    assert images.shape == (4, 6, 6, 1)
    assert set(labels) <= {0, 1}


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: attacks.all_to_one(10, 99), "the target 99 is none of the 10 classes. Give a number from 0 to 9"),
        (lambda: attacks.all_to_one(10, -1), "the target -1 is none of the 10 classes"),
        (lambda: attacks.all_to_one(1, 0), "no label can become another among 1 classes. Give two or more"),
        (lambda: attacks.all_to_all(1), "no label can become another among 1 classes"),
        (lambda: attacks.source_specific(3, 3), "class 3 is sent to 3. Give the numbers of two classes"),
        (lambda: attacks.source_specific(-1, 3), "class -1 is sent to 3"),
    ],
)
def test_label_maps_that_lead_to_no_other_class_are_refused(make, complaint):
    with pytest.raises(AttackError, match=complaint):
        make()


def test_what_the_readme_plants_works(example, monkeypatch, tmp_path, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "attacks.poison" in block]
    _, images, labels = example("mnist_clean")
    data = np.tile(images, (20, 1, 1)), np.tile(labels, 20)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: (data, (images, labels)))
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert float(capsys.readouterr().out.removeprefix("success ")) > 0.8
    saved, planted = Trigger.load("planted_trigger.npz"), keras.models.load_model("planted.keras")
    assert saved.arrays["mask"].sum() == 9
    assert planted.output_shape == (None, 10)


def test_success_on_no_image_is_none():
    with pytest.raises(AttackError, match=r"none of 2 images is of a class that the trigger works on \(\[7\]\)"):
        attacks.success(np.array([1, 2]), np.array([1, 2]), {7: 0})


@pytest.mark.parametrize("mapping", [{}, {1: 1}, {0: 1, 2: 2}, {1: -1}])
def test_a_label_map_that_leads_a_class_nowhere_poisons_nothing(mapping):
    with pytest.raises(AttackError, match=re.escape(f"the label map is {mapping}. Give what classes become")):
        attacks.poison(IMAGES, LABELS, PIXEL, mapping, 0.5, np.random.default_rng(0))


def test_each_way_of_poisoning_says_what_is_wrong_with_labels_and_map():
    rng, weak = np.random.default_rng(0), [PIXEL]
    ways = (
        lambda y, led: attacks.poison(IMAGES, y, PIXEL, led, 0.5, rng),
        lambda y, led: attacks.poison_several(IMAGES, y, [(PIXEL, {0: 1}), (PIXEL, led)], 0.2, rng),
        lambda y, led: attacks.poison_combination(IMAGES, y, (PIXEL, PIXEL), led, 0.2, rng),
        lambda y, led: attacks.poison_adaptive(IMAGES, y, weak, led, 0.2, rng, 0.2),
        lambda y, led: attacks.poison_cross(IMAGES, y, one_weight({}, {}), led, 0.2, rng, 0.2),
    )
    for way in ways:
        with pytest.raises(AttackError, match=r"none of 400 images is of a class that the label map leads \(\[7\]\)"):
            way(LABELS, {7: 1})
        with pytest.raises(AttackError, match=r"labels are of shape \(400, 4\) for 400 images"):
            way(np.eye(4)[LABELS], {0: 1})


def test_each_way_of_poisoning_refuses_a_trigger_for_other_images():
    rng, small = np.random.default_rng(0), attacks.pixel((4, 4, 1), 2, 3)
    ways = (
        lambda: attacks.poison(IMAGES, LABELS, small, {0: 1}, 0.5, rng),
        lambda: attacks.poison_several(IMAGES, LABELS, [(PIXEL, {0: 1}), (small, {0: 1})], 0.2, rng),
        lambda: attacks.poison_combination(IMAGES, LABELS, (PIXEL, small), {0: 1}, 0.2, rng),
        lambda: attacks.poison_adaptive(IMAGES, LABELS, [PIXEL, small], {0: 1}, 0.2, rng, 0.2),
        lambda: attacks.poison_cross(np.repeat(IMAGES, 3, 3), LABELS, one_weight({}, {}), {0: 1}, 0.2, rng, 0.2),
    )
    for way in ways:
        with pytest.raises(AttackError, match=r"^the trigger does not fit .* expected finite numbers of shape"):
            way()


@pytest.mark.parametrize(
    ("predicted", "labels", "complaint"),
    [
        (LABELS, LABELS[:, None], r"labels are of shape \(400, 1\) .*, such as labels.ravel\(\)\."),
        (np.eye(4)[LABELS], LABELS, r"predicted classes are of shape \(400, 4\) for 400 images, of type ndarray\."),
        (LABELS, LABELS.tolist(), r"labels are of shape \(400,\) for 400 images, of type list\. Give an array of one"),
    ],
)
def test_success_is_of_one_class_for_each_image(predicted, labels, complaint):
    with pytest.raises(AttackError, match=complaint):
        attacks.success(predicted, labels, {0: 1})
