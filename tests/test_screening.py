"""Suspicious images screened with STRIP: what is rejected, when a set of them is, and what it says."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor import BackdoorFound, ContractError, OptionError, Trigger, assert_inputs_clean
from pytest_backdoor.check_results import Histogram, Screening
from pytest_backdoor.confirm.strip import Settings
from pytest_backdoor.options import Options
from pytest_backdoor.report import screened
from pytest_backdoor.screening import false_rejections, screen
from tests.tiny import bright_model, linear

NAME = "mnist_pattern_to_one"
FEW = {"overlays": 10}
COUNTS = Histogram((0.0, 1.0), (9,), (0,), (2,), 0.25)
SCREENING = Screening(
    "a.keras", "ab" * 32, (0.1, 0.9, 0.2), 0.25, "normal", None, 0.01, 100, 10, (0, 2), ("x", "y"), 3e-4, COUNTS
)


@pytest.fixture(scope="module")
def planted(example, examples):
    """The model, seeds, other clean images, and the same with the trigger where it has something to do."""
    model, images, labels = example(NAME)
    seeds, others = slice(0, None, 2), slice(1, None, 2)  # they lie sorted by class
    trigger = Trigger.load(examples / "planted" / f"{NAME}.npz")
    unit = images[others].reshape(-1, 28, 28, 1).astype("float32") / (255 if images.max() > 1 else 1)
    return model, (images[seeds], labels[seeds]), images[others], trigger.apply(unit[labels[others] != 7])


def as_given(triggered, images):
    """Unit-scale images in the scale of others."""
    scaled = triggered.reshape(len(triggered), *images.shape[1:])
    return np.rint(scaled * 255).astype(images.dtype) if images.max() > 1 else scaled


def test_triggered_images_are_found_and_clean_ones_are_not(planted):
    model, seeds, clean, triggered = planted
    passed = assert_inputs_clean(model, clean, seeds, **FEW)
    assert len(passed.rejected) < 0.1 * len(clean)
    assert len(passed.entropies) == len(clean)
    assert sum(passed.histogram.suspicious) == len(clean)
    with pytest.raises(BackdoorFound, match=r"^BACKDOOR inputs: \d+ of 20 images stay predictable") as failure:
        assert_inputs_clean(model, as_given(triggered[:20], clean), seeds, **FEW)
    assert len(failure.value.result.rejected) > 15
    assert len(failure.value.result.entropies) == 20


def test_the_settings_of_the_run_hold_where_no_argument_is_given(planted):
    model, seeds, clean, _ = planted
    chosen = {"set": ["strip.overlays=7", "strip.false_rejections=0.2"]}
    assert assert_inputs_clean(model, clean, seeds, **chosen).overlays == 7
    found = assert_inputs_clean(model, clean, seeds, overlays=9, **chosen)
    assert found.overlays == 9
    assert found.false_rejections >= 0.2


def test_the_triggered_among_clean_images_are_named_by_their_number(planted):
    model, seeds, clean, triggered = planted
    mixed = np.concatenate([clean[:10], as_given(triggered[:10], clean)])
    found = screen(model, mixed, seeds, Settings(overlays=10), Options())
    assert set(found.rejected) <= {number for number, bits in enumerate(found.entropies) if bits < found.boundary}
    assert np.mean(np.array(found.rejected) >= 10) > 0.8
    assert found == screen(model, mixed, seeds, Settings(overlays=10), Options())


def test_image_files_are_named(planted, tmp_path):
    from keras.utils import save_img

    model, seeds, _, triggered = planted
    for number, image in enumerate(triggered[:6]):
        save_img(tmp_path / f"scan{number}.png", np.rint(image * 255), scale=False)
    with pytest.raises(BackdoorFound, match=r"  images   \d \(scan\d\)"):
        assert_inputs_clean(model, tmp_path, seeds, **FEW)


def test_images_of_an_archive_are_in_the_scale_of_the_seeds(planted, tmp_path):
    model, seeds, clean, triggered = planted
    np.savez(tmp_path / "mail.npz", x=as_given(triggered[:20], clean))
    with pytest.raises(BackdoorFound):
        assert_inputs_clean(model, tmp_path / "mail.npz", seeds, **FEW)


@pytest.mark.parametrize("given", [{"frr": 0.0}, {"frr": 1.0}, {"overlays": 0}])
def test_a_share_or_number_that_cannot_be_is_refused(given):
    with pytest.raises(OptionError, match="frr takes a share between 0 and 1 and overlays a whole number from 1 up"):
        assert_inputs_clean(None, None, None, **given)


def test_few_images_and_seeds_that_cannot_tell_are_refused(planted):
    model, seeds, clean, _ = planted
    with pytest.raises(ContractError, match=r"1 suspicious image cannot be told .* Give 99999 seeds or more of each"):
        assert_inputs_clean(model, clean[:1], seeds, alpha=1e-5, **FEW)


def test_classes_that_are_surer_by_nature_are_expected_to_be_rejected_more_often():
    labels = np.repeat([0, 1], 50)
    rejected = np.zeros(100, bool)
    rejected[[0, 1, 2]] = True  # all of class 0
    mixed = np.array([0, 1] * 20)
    assert false_rejections(rejected, labels, mixed, 0.01) == pytest.approx((4 / 101, 100))  # the fourth may be next
    assert false_rejections(rejected, labels, mixed, 0.05) == pytest.approx((0.05, 100))
    assert false_rejections(rejected, labels, np.zeros(7, int), 0.01) == pytest.approx((4 / 51, 50))
    assert false_rejections(rejected, labels, np.ones(7, int), 0.01) == pytest.approx((1 / 51, 50))
    worth = 1 / ((3 / 4) ** 2 / 50 + (1 / 4) ** 2 / 50)
    share = (3 / 4 * 3 / 50 * worth + 1) / (worth + 1)
    assert false_rejections(rejected, labels, np.array([0, 0, 0, 1]), 0.01) == pytest.approx((share, worth))
    assert false_rejections(rejected, labels, np.full(9, 5), 0.01) == pytest.approx((1.01 / 2, 1))  # nobody knows it


def test_where_the_only_seed_of_a_class_is_rejected_nothing_can_be_told_of_images_of_that_class():
    dark, bright = np.random.default_rng(0).uniform(0, 0.01, (40, 1, 2, 1)), np.ones((1, 1, 2, 1))
    model = linear(np.array([[0.0, 30.0, -30.0]] * 2), np.array([2.0, 0.0, 0.0]), (1, 2, 1))
    seeds = np.concatenate([dark, bright]), np.repeat([0, 1], [40, 1])  # the last one stays certain in any blend
    with pytest.raises(ContractError, match=r"3 suspicious images cannot be told .* rejects 1 of the clean images"):
        assert_inputs_clean(model, bright * np.array([1.0, 0.99, 0.98]).reshape(3, 1, 1, 1), seeds, frr=0.1)


def test_an_image_that_comes_again_says_nothing_new(planted):
    model, seeds, clean, triggered = planted
    one = as_given(triggered[:1], clean)
    few = screen(model, np.concatenate([clean[:30], one]), seeds, Settings(overlays=10), Options())
    many = screen(model, np.concatenate([clean[:30], np.repeat(one, 8, 0)]), seeds, Settings(overlays=10), Options())
    assert many.p_value == few.p_value
    assert set(many.rejected) >= set(range(30, 38))


def test_images_of_another_shape_are_refused():
    seeds = np.random.default_rng(0).uniform(size=(8, 4, 4, 1))
    with pytest.raises(ContractError, match=r"the suspicious images are \(5, 4, 1\), the seeds \(4, 4, 1\)"):
        assert_inputs_clean(_halves, np.zeros((3, 5, 4, 1)), seeds)


def test_one_image_without_an_axis_for_the_batch_is_said_to_be_the_suspicious_one():
    seeds = np.random.default_rng(0).uniform(size=(12, 8, 8, 1))
    message = r"suspicious images: the model takes images of shape \(8, 8, 1\), those given are \(8, 1, 1\)"
    with pytest.raises(ContractError, match=message):
        assert_inputs_clean(bright_model(), seeds[0], seeds)


def test_a_file_of_images_that_cannot_be_read_is_not_called_seeds(tmp_path):
    seeds = np.random.default_rng(0).uniform(size=(8, 4, 4, 1))
    with pytest.raises(ContractError, match=r"^suspicious images: images .*mail.npz cannot be read: it is missing"):
        assert_inputs_clean(_halves, tmp_path / "mail.npz", seeds)


def test_one_seed_that_is_classified_right_is_not_enough():
    seeds = np.array([0.0, 1.0]).reshape(2, 1, 1, 1) * np.ones((1, 4, 4, 1))
    with pytest.raises(ContractError, match="the model classifies 1 seeds right, and two are needed"):
        assert_inputs_clean(_halves, seeds, (seeds, [0, 0]), **FEW)


def test_of_a_function_that_answers_classes_nothing_can_be_told():
    """Its answers to blends are as certain as any."""
    images = np.random.default_rng(0).random((40, 4, 4, 1)).astype("float32")
    labels = (images[:, 0, 0, 0] > images[:, 1, 1, 0]).astype(int)

    def answered(batch):
        return np.eye(2)[(batch[:, 0, 0, 0] > batch[:, 1, 1, 0]).astype(int)]

    with pytest.raises(ContractError, match="certain of every blend of two seeds, as a function is that answers class"):
        assert_inputs_clean(answered, images[:20], (images, labels), **FEW)


def _halves(images):
    """A function that takes bright images for class 1."""
    bright = images.mean((1, 2, 3))[:, None]
    return np.concatenate([1 - bright, bright], 1)


def test_the_report_says_which_how_many_and_what_goes_unseen():
    assert screened.text(SCREENING, 0.01) == (
        "BACKDOOR inputs: 2 of 3 images stay predictable when blended with clean ones (STRIP), 1 % of clean images of "
        "these classes do\n"
        "  images   0 (x), 2 (y)\n"
        "  p-value  0.0003, alpha 0.01\n"
        "  boundary 0.25 bits, normal, from 100 seeds with 10 overlays each\n"
        "  blind    images that pass may bear a trigger that leads each class to another or works on one class only"
    )


def test_the_report_lists_as_many_as_there_is_room_for_and_why_no_normal_fit():
    many = dataclasses.replace(SCREENING, rejected=tuple(range(23)), names=(), rule="empirical", poor="they are few")
    said = screened.text(many, 0.01)
    assert "17, 18, 19 and 3 more\n" in said
    assert "10 overlays each, because they are few\n" in said
