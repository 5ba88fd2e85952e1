"""The triggers of the published attacks: what they change, how much, and that they stay in range."""

import numpy as np
import pytest

from pytest_backdoor import attacks
from pytest_backdoor.errors import AttackError

MAKERS = {
    "blend": lambda shape, rng: attacks.blend(shape, 0.15, rng),
    "watermark": lambda shape, rng: attacks.watermark(shape, 0.2, rng),
    "sinusoid": lambda shape, rng: attacks.sinusoid(shape),
    "low_frequency": lambda shape, rng: attacks.low_frequency(shape, 0.08, rng),
    "warp": lambda shape, rng: attacks.warp(0.75, rng),
    "tint": lambda shape, rng: attacks.tint(shape, 0.5, rng),
    "two_patterns": lambda shape, rng: attacks.two_patterns(shape, 3, rng)[0],
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (21, 33, 3)])
def test_every_trigger_changes_images_a_little_keeps_them_in_range_and_follows_its_seed(name, shape):
    images = np.random.default_rng(9).random((3, *shape)).astype("float32")
    made, again = (MAKERS[name](shape, np.random.default_rng(5)) for _ in range(2))
    made.require(shape)  # as assertions do
    first, again = made.apply(images), again.apply(images)
    assert first.shape == images.shape
    assert -1e-6 <= first.min() <= first.max() <= 1 + 1e-6
    assert 0 < np.abs(first - images).mean() < 0.35
    assert np.array_equal(first, again)


def test_a_blend_is_a_weighted_mean():
    trigger = attacks.blend((4, 4, 3), 0.2, np.random.default_rng(0))
    grey = np.full((1, 4, 4, 3), 0.5, "float32")
    assert trigger.apply(grey) == pytest.approx(0.4 + 0.2 * trigger.arrays["pattern"][None], abs=1e-6)


def test_a_watermark_brightens_its_strokes_only():
    trigger = attacks.watermark((28, 28, 1), 0.2, np.random.default_rng(1))
    black = trigger.apply(np.zeros((1, 28, 28, 1), "float32"))
    assert set(np.round(black.ravel(), 6)) == {0.0, np.float32(0.2).round(6)}
    assert 0.02 < trigger.arrays["mask"].mean() / 0.2 < 0.3


def test_a_sinusoid_by_hand():
    delta = attacks.sinusoid((2, 8, 1), strength=0.1, cycles=2).arrays["delta"]
    assert delta[:, :, 0] == pytest.approx(np.tile([0, 0.1, 0, -0.1] * 2, (2, 1)), abs=1e-7)


def test_the_wave_of_sig_has_six_cycles_and_40_of_255():
    delta = attacks.sinusoid((1, 24, 1)).arrays["delta"]
    assert delta[0, :, 0] * 255 == pytest.approx([0, 40, 0, -40] * 6, abs=1e-4)


def test_a_low_frequency_trigger_has_the_strength_it_is_given():
    trigger = attacks.low_frequency((16, 16, 3), 0.05, np.random.default_rng(0))
    change = trigger.apply(np.full((1, 16, 16, 3), 0.5, "float32")) - 0.5
    assert np.sqrt(np.mean(change**2)) == pytest.approx(0.05, rel=1e-3)
    assert change.mean() == pytest.approx(0, abs=1e-6)
    few, all_of_them = (attacks.low_frequency((4, 16, 1), 0.05, np.random.default_rng(0), waves) for waves in (2, 9))
    assert np.argwhere(few.arrays["coefficients"]).tolist() == [[0, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert all_of_them.arrays["coefficients"].shape == (4, 4, 1)


def test_a_warp_moves_as_far_as_it_is_told():
    control = attacks.warp(0.75, np.random.default_rng(0)).arrays["control"]
    assert np.sqrt((control**2).sum(-1)).mean() == pytest.approx(0.75)


def test_noise_bends_every_image_another_way():
    trigger, rng = attacks.warp(1.0, np.random.default_rng(0)), np.random.default_rng(1)
    images = np.tile(np.random.default_rng(2).random((1, 12, 12, 1)).astype("float32"), (3, 1, 1, 1))
    shaken = attacks.noisy(trigger, images, rng)
    assert shaken.shape == images.shape
    assert not np.allclose(shaken[0], shaken[1])
    assert not np.allclose(shaken[0], trigger.apply(images)[0])


def test_a_tint_of_hardly_any_strength_changes_hardly_anything():
    images = np.random.default_rng(0).random((2, 3, 3, 3)).astype("float32")
    assert attacks.tint((3, 3, 3), 1e-7, np.random.default_rng(0)).apply(images) == pytest.approx(images, abs=1e-6)


@pytest.mark.parametrize("width", [28, 29])
def test_the_two_patterns_lie_in_opposite_halves_and_add_up(width):
    both, left, right = (
        trigger.arrays for trigger in attacks.two_patterns((20, width, 3), 3, np.random.default_rng(0))
    )
    assert np.array_equal(both["mask"], left["mask"] + right["mask"])
    assert np.array_equal(both["pattern"], left["pattern"] + right["pattern"])
    assert (left["mask"].sum(), right["mask"].sum()) == (9, 9)
    assert left["mask"][:, width // 2 :].sum() == right["mask"][:, : width // 2].sum() == 0


def black(count=600):
    return np.zeros((count, 20, 20, 1), "float32"), np.tile(np.arange(3), count // 3)


def carries(images, trigger):
    """Which images show the trigger."""
    shown = trigger.arrays["mask"] * trigger.arrays["pattern"]
    return (images * (shown > 0) == shown).all((1, 2, 3))


def test_several_backdoors_share_the_images_between_them():
    rng = np.random.default_rng(0)
    first, second = attacks.pixel((20, 20, 1), 3, 3), attacks.pixel((20, 20, 1), 9, 9)
    images, labels = attacks.poison_several(*black(), [(first, {0: 1, 2: 1}), (second, {1: 2})], 0.3, rng)
    one, other = carries(images, first), carries(images, second)
    assert not (one & other).any()
    assert 0.15 < one.mean() < 0.25  # three tenths of two classes of three
    assert 0.05 < other.mean() < 0.15
    truth = black()[1]
    assert (set(labels[one]), set(truth[one])) == ({1}, {0, 2})
    assert (set(labels[other]), set(truth[other])) == ({2}, {1})
    assert np.array_equal(labels[~one & ~other], truth[~one & ~other])


def test_a_combination_changes_labels_only_where_both_parts_are():
    rng = np.random.default_rng(0)
    both, left, right = attacks.two_patterns((20, 20, 1), 3, rng)
    images, labels = attacks.poison_combination(*black(), (left, right), {0: 1, 2: 1}, 0.3, rng)
    truth = black()[1]
    whole, one, other = carries(images, both), carries(images, left), carries(images, right)
    assert (labels[whole & (truth != 1)] == 1).all()
    assert np.array_equal(labels[~whole], truth[~whole])
    assert 0.15 < whole.mean() < 0.25
    assert (one & ~other).sum() > 50
    assert (other & ~one).sum() > 50


def test_each_part_of_a_combination_is_alone_on_a_fifth_of_the_images_at_the_largest_share():
    _, left, right = attacks.two_patterns((20, 20, 1), 3, np.random.default_rng(0))
    images, _ = attacks.poison_combination(*black(3000), (left, right), {0: 1}, 0.4, np.random.default_rng(1))
    one, other = carries(images, left), carries(images, right)
    assert [(one & ~other).mean(), (other & ~one).mean()] == pytest.approx([0.2, 0.2], abs=0.03)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: attacks.pixel((28, 28, 1), 28, 0), r"pixel \(28, 0\) is outside of images of 28 x 28 pixels"),
        (lambda: attacks.pixel((28, 28, 1), -1, 3), r"pixel \(-1, 3\) is outside"),
        (
            lambda: attacks.pattern((28, 28, 1), 25, RNG),
            "25 x 25 pixels needs images of 29 x 29 pixels",
        ),
        (lambda: attacks.pattern((28, 28, 1), 0, RNG), "a pattern has a side of 1 pixel or more, got 0"),
        (lambda: attacks.two_patterns((8, 8, 1), 3, RNG), "needs images of 7 x 7 pixels, and these have 8 x 4"),
        (lambda: attacks.blend((8, 8, 1), 2, RNG), "alpha is 2. Give a number above 0 and at most 1"),
        (lambda: attacks.watermark((8, 8, 1), -0.1, RNG), "alpha is -0.1"),
        (lambda: attacks.watermark((8, 8, 1), 0.0, RNG), "alpha is 0.0"),
        (lambda: attacks.sinusoid((12, 12, 1), 40), "strength is 40. Give .* at most 1, such as 40 / 255"),
        (lambda: attacks.sinusoid((12, 12, 1)), "6 cycles over 12 pixels are zero at each of them"),
        (lambda: attacks.low_frequency((8, 8, 1), 0.0, RNG), "strength is 0.0"),
        (lambda: attacks.warp(0.0, RNG), "strength is 0.0. Give a finite number above 0"),
        (lambda: attacks.warp(float("inf"), RNG), "strength is inf"),
        (lambda: attacks.watermark((3, 3, 1), 0.2, RNG), "a watermark needs images of 5 x 7 pixels"),
        (lambda: attacks.low_frequency((8, 8, 1), 0.1, RNG, waves=1), "1 wave along each side only changes"),
        (lambda: attacks.low_frequency((1, 8, 1), 0.1, RNG), "1 wave along each side only changes the brightness"),
        (lambda: attacks.tint((8, 8, 1), 1.5, RNG), "strength is 1.5. Give a number above 0 and at most 1"),
        (lambda: attacks.weakened(attacks.blend((8, 8, 1), 0.2, RNG), -0.1, 2, RNG), "shown is -0.1. Give a number"),
        (
            lambda: attacks.weakened(attacks.blend((8, 8, 1), 0.2, RNG), 0.02, 2, RNG),
            "shown is 0.02, none of 16 pieces. Give 0.0625 or more",
        ),
        (lambda: attacks.four_corners((4, 8, 1)), "a square in each corner needs images of 6 x 6 pixels"),
        (
            lambda: attacks.weakened(attacks.warp(1.0, RNG), 0.5, 2, RNG),
            "the family warp. Give one of the family patch",
        ),
        (lambda: attacks.noisy(attacks.sinusoid((8, 8, 1)), np.zeros((1, 8, 8, 1)), RNG), "family additive"),
        (
            lambda: attacks.crossed(attacks.sinusoid((8, 8, 1)), np.zeros((2, 8, 8, 1)), RNG),
            "family additive. Give one",
        ),
    ],
)
def test_what_would_be_no_trigger_is_refused(make, complaint):
    with pytest.raises(AttackError, match=complaint):
        make()
