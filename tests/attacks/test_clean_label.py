"""Clean-label poisoning on a model whose gradients are known."""

import numpy as np
import pytest

from pytest_backdoor import attacks
from pytest_backdoor.attacks.clean_label import obscured
from pytest_backdoor.errors import AttackError
from tests.tiny import bright_pixels


def test_the_four_corners_carry_the_square_turned_outwards():
    trigger = attacks.four_corners((8, 9, 1)).arrays
    assert trigger["mask"].sum() == 4 * 9
    shown = trigger["pattern"][..., 0]
    assert shown[:3, :3].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert np.array_equal(shown, shown[:, ::-1])
    assert np.array_equal(shown, shown[::-1])


def test_obscured_images_lose_what_speaks_for_their_class_within_the_reach():
    subject, seeds = bright_pixels()
    moved = obscured(subject, seeds.images, seeds.labels, 0.3)
    assert np.abs(moved - seeds.images).max() == pytest.approx(0.3)
    rows = np.arange(len(seeds.labels))
    assert moved[rows, 0, seeds.labels, 0] == pytest.approx(0.2)  # 0.5 less the whole reach
    others = np.flatnonzero(seeds.labels != 1)
    assert moved[others, 5, 5, 0] == pytest.approx(0.3)  # white there speaks for class 1


def test_obscured_images_stay_between_black_and_white():
    subject, _ = bright_pixels()
    image = np.zeros((1, 8, 8, 1), "float32")
    image[0, 0, 0], image[0, 0, 2] = 0.1, 0.9  # speaks for class 0, and against it: a reach of 0.3 leads out of both
    moved = obscured(subject, image, np.array([0]), 0.3)
    assert moved[0, 0, [0, 2], 0] == pytest.approx([0.0, 1.0])
    assert (moved.min(), moved.max()) == (0.0, 1.0)


def test_only_images_of_the_target_change_and_no_label_does():
    subject, seeds = bright_pixels()
    trigger = attacks.pixel((8, 8, 1), 6, 2)
    images, labels = attacks.poison_clean_label(
        subject, seeds.images, seeds.labels, trigger, 2, 0.6, np.random.default_rng(0)
    )
    assert np.array_equal(labels, seeds.labels)
    changed = (images != seeds.images).any((1, 2, 3))
    assert set(seeds.labels[changed]) == {2}
    assert 0 < changed.sum() < 10
    assert (images[changed, 6, 2] == 1).all()


@pytest.mark.parametrize(
    ("target", "share", "reach", "complaint"),
    [
        (99, 0.5, 0.3, r"the target 99 is none of the \d+ classes"),
        (2, 50, 0.3, "share is 50. Give a number from 0 to 1"),
        (2, 0.5, 16, "reach is 16. Give a number from 0 to 1"),
    ],
)
def test_what_would_change_nothing_or_everything_is_refused(target, share, reach, complaint):
    subject, seeds = bright_pixels()
    trigger, rng = attacks.pixel((8, 8, 1), 6, 2), np.random.default_rng(0)
    with pytest.raises(AttackError, match=complaint):
        attacks.poison_clean_label(subject, seeds.images, seeds.labels, trigger, target, share, rng, reach)


def test_labels_and_a_trigger_that_do_not_fit_the_images_are_refused():
    (subject, seeds), rng = bright_pixels(), np.random.default_rng(0)
    with pytest.raises(AttackError, match=r"labels are of shape \(\d+, 1\) .*, such as labels.ravel\(\)"):
        attacks.poison_clean_label(
            subject, seeds.images, seeds.labels[:, None], attacks.pixel((8, 8, 1), 6, 2), 2, 0.5, rng
        )
    with pytest.raises(AttackError, match="the trigger does not fit"):
        attacks.poison_clean_label(subject, seeds.images, seeds.labels, attacks.pixel((9, 9, 1), 6, 2), 2, 0.5, rng)


def test_no_image_of_the_target_leaves_everything_as_it_is():
    subject, seeds = bright_pixels()
    trigger, rng = attacks.pixel((8, 8, 1), 6, 2), np.random.default_rng(0)
    images, _ = attacks.poison_clean_label(subject, seeds.images[:10], seeds.labels[:10], trigger, 2, 1.0, rng)
    assert np.array_equal(images, seeds.images[:10])
