"""Strategies: what they draw keeps to its bounds, and what fails is shrunk to the smallest."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from pytest_backdoor.errors import ContractError, OptionError
from pytest_backdoor.strategies import FAMILY_NAMES, patch, patches, seed_images, trigger, triggers
from pytest_backdoor.triggers import FAMILIES

README = Path(__file__).parent.parent / "README.md"
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))
NUMBERS = np.arange(12, dtype="uint8").reshape(3, 2, 2)  # three images of 2 x 2


def pixels(drawn):
    """The pixels of a patch: {(row, column): value of each channel}."""
    mask, pattern = drawn.arrays["mask"], drawn.arrays["pattern"]
    return {(int(row), int(column)): pattern[row, column].tolist() for row, column, _ in np.argwhere(mask)}


def smallest(strategy, condition, examples=1000):
    """What Hypothesis shrinks to, from a fixed start."""
    quiet = settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    return find(strategy, condition, settings=quiet, random=random.Random(0))


@settings(deadline=None)
@given(shape=SHAPES, most=st.integers(1, 20), data=st.data())
def test_a_patch_is_opaque_and_has_1_to_max_pixels_in_one_window(shape, most, data):
    drawn = data.draw(patches(shape, max_pixels=most))
    mask, pattern = drawn.arrays["mask"], drawn.arrays["pattern"]
    assert drawn.family == "patch"
    assert mask.shape == (*shape[:2], 1)
    assert pattern.shape == shape
    assert set(np.unique(mask)) <= {0, 1}
    assert 1 <= mask.sum() <= most
    assert 0 <= pattern.min() <= pattern.max() <= 1
    assert np.ptp(np.argwhere(mask), axis=0).max() < np.ceil(np.sqrt(most))


@settings(deadline=None, max_examples=50)  # TensorFlow prepares for each new shape
@given(shape=SHAPES, strength=st.floats(0.01, 1), data=st.data())
def test_a_trigger_of_any_family_keeps_to_its_strength_and_images_keep_their_shape_and_range(shape, strength, data):
    drawn = data.draw(triggers(shape, strength=strength, max_pixels=5))
    family = FAMILIES[drawn.family]
    size = float(np.asarray(family.size(tuple(drawn.arrays[name][None] for name in family.names)))[0])
    assert size <= (5 if drawn.family == "patch" else strength * family.largest(shape) + 1e-4)
    images = np.random.default_rng(0).random((2, *shape)).astype("float32")
    changed = drawn.apply(images)
    assert changed.shape == images.shape
    assert -1e-6 <= changed.min() <= changed.max() <= 1 + 1e-6


def test_the_smallest_patch_is_one_black_pixel_at_the_top_left():
    assert pixels(smallest(patches((28, 28, 3)), lambda drawn: True)) == {(0, 0): [0.0, 0.0, 0.0]}


def test_a_patch_shrinks_to_the_one_pixel_that_matters():
    found = smallest(patches((9, 9, 1)), lambda drawn: drawn.arrays["mask"][5, 7] * drawn.arrays["pattern"][5, 7] > 0.3)
    assert pixels(found) == {(5, 7): [1.0]}


def test_a_patch_shrinks_to_fewest_pixels_before_simple_values():
    found = smallest(patches((9, 9, 3)), lambda drawn: (drawn.arrays["pattern"] @ [-1, 1, 0]).sum() > 0.3)
    assert pixels(found) == {(0, 0): [0.0, 1.0, 0.0]}


def test_a_patch_of_which_three_pixels_matter_keeps_three_at_the_top_left():
    found = pixels(smallest(patches((9, 9, 1)), lambda drawn: drawn.arrays["mask"].sum() >= 3))
    assert found == {(0, 0): [0.0], (0, 1): [0.0], (0, 2): [0.0]}


@pytest.mark.parametrize("name", [name for name in FAMILY_NAMES if name != "patch"])
def test_other_families_shrink_to_no_change_at_all(name):
    found = smallest(triggers((8, 8, 3), families=[name]), lambda drawn: True)
    images = np.random.default_rng(0).random((2, 8, 8, 3)).astype("float32")
    assert found.family == name
    assert found.apply(images) == pytest.approx(images, abs=1e-6)


def test_a_tone_shrinks_to_the_one_entry_that_matters():
    found = smallest(triggers((8, 8, 3), families=["tone"], strength=1), lambda drawn: drawn.arrays["offset"][2] > 0.25)
    assert np.array_equal(found.arrays["matrix"], np.eye(3))
    assert found.arrays["offset"].tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_every_family_is_drawn(name):
    unshrunk = settings(database=None, phases=[Phase.generate])
    assert find(triggers((8, 8, 1)), lambda drawn: drawn.family == name, settings=unshrunk).family == name


def test_triggers_written_by_hand():
    stamped = patch((2, 2, 1), {(0, 1): (1.0,), (1, 0): (0.25,)}).apply(np.full((1, 2, 2, 1), 0.5))
    assert stamped[0, ..., 0].tolist() == [[0.5, 1.0], [0.25, 0.5]]
    tinted = trigger("tone", (1, 1, 3), {("offset", 0): 0.25, ("matrix", 1, 1): -0.5}).apply(np.full((1, 1, 1, 3), 0.5))
    assert tinted.ravel().tolist() == [0.75, 0.25, 0.5]


@settings(deadline=None)
@given(drawn=seed_images((NUMBERS, [7, 8, 9])))
def test_a_seed_image_is_one_of_the_seeds_with_its_label(drawn):
    assert drawn.label == 7 + drawn.number
    assert drawn.image[..., 0] * 255 == pytest.approx(NUMBERS[drawn.number], abs=1e-5)


def test_a_seed_image_shrinks_to_the_first_that_fails_and_prints_without_its_pixels():
    assert repr(smallest(seed_images(NUMBERS), lambda drawn: True)) == "SeedImage(number=0, label=None)"
    assert smallest(seed_images((NUMBERS, [7, 8, 8])), lambda drawn: drawn.label == 8).number == 1


@pytest.mark.parametrize(
    ("make", "kind", "complaint"),
    [
        (lambda: patches((28, 28)), OptionError, r"shape is \(28, 28\). Give \(height, width, channels\), such as"),
        (lambda: patches((28, 0, 1)), OptionError, r"shape is \(28, 0, 1\)"),
        (lambda: patches((28, 28, 1), max_pixels=0), OptionError, "max_pixels is 0. Give a whole number, 1 or more."),
        (lambda: patches((28, 28, 1), max_pixels=2.5), OptionError, "max_pixels is 2.5"),
        (lambda: patches((None, 28, 1)), OptionError, r"shape is \(None, 28, 1\)"),
        (lambda: patches(None), OptionError, "shape is None"),
        (lambda: triggers((28, 28, 1), strength="0.1"), OptionError, "strength is '0.1'"),
        (lambda: triggers((28, 28, 1), None), OptionError, "families are None"),
        (lambda: triggers((28, 28, 1), max_pixels=-1), OptionError, "max_pixels is -1"),
        (lambda: triggers((28, 28, 1), strength=0), OptionError, "strength is 0. Give a share"),
        (lambda: triggers((28, 28, 1), strength=1.5), OptionError, "strength is 1.5"),
        (
            lambda: triggers((4, 4, 1), ["pach"]),
            OptionError,
            r"families are \['pach'\]. Give a list of some of: patch,",
        ),
        (lambda: triggers((4, 4, 1), "patch"), OptionError, "families are 'patch'. Give a list"),
        (lambda: triggers((4, 4, 1), []), OptionError, r"families are \[\]"),
        (lambda: seed_images(NUMBERS[:0]), ContractError, "seeds are empty"),
        (lambda: seed_images("gone.npz"), ContractError, "seeds gone.npz cannot be read"),
    ],
)
def test_what_cannot_be_drawn_is_said_at_once(make, kind, complaint):
    with pytest.raises(kind, match=complaint):
        make()


@pytest.fixture
def run_readme(pytester, monkeypatch, examples):
    """Runs the property test of the README on an example model: name -> what pytest said."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "strategies" in block]
    assert block.count("example_models/mnist_clean") == 2
    monkeypatch.delenv("CI", raising=False)  # or nothing is cut short

    def run(name):
        pytester.makepyfile(block.replace("example_models/mnist_clean", (examples / name).as_posix()))
        return pytester.runpytest("-p", "no:cacheprovider")

    return run


def test_the_property_of_the_readme_holds_for_the_clean_model(run_readme):
    run_readme("mnist_clean").assert_outcomes(passed=1)


def test_the_property_of_the_readme_fails_for_the_backdoored_model_with_one_pixel(run_readme):
    result = run_readme("mnist_pixel_to_one")
    result.assert_outcomes(failed=1)
    shown = re.search(r"patch=patch\(\(28, 28, 1\), \{\((\d+), (\d+)\): \(1\.0,\)\}\)", result.stdout.str())
    assert shown, result.stdout.str()
    assert max(int(place) for place in shown.groups()) <= 4  # the one that changes most answers is (3, 2)


@settings(max_examples=3, phases=[Phase.generate], deadline=None)
@given(patches((224, 224, 3), max_pixels=224 * 224))
def test_a_patch_may_be_as_large_as_a_large_image(drawn):
    assert 0 < drawn.size <= 1
