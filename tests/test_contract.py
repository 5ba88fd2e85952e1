"""The contract between model and seeds, on models whose scale is set by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from pytest_backdoor.contract import SAMPLE, _best, check, fit_channels, halves
from pytest_backdoor.errors import ContractError, OutOfScopeError
from pytest_backdoor.network import LEAST
from pytest_backdoor.scalings import usual
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier
from tests.tiny import linear, two_pixels

# Images of one grey each: class 0, 1 and 2 for 60, 130 and 200 of 255, with a little of their neighbours.
GREYS = np.concatenate([np.linspace(middle - 20, middle + 20, 10) for middle in (60, 130, 200)])
LABELS = np.repeat([0, 1, 2], 10)
BYTES = np.rint(np.tile(GREYS[:, None, None, None], (1, 4, 4, 1))).astype("uint8")


def by_brightness(low, high, channels=1):
    """A model that knows the classes by their mean brightness, black being low and white being high.

    Logits are lines that touch a parabola, m^2 / 2 times the sharpness, at the three middles, so the nearest middle
    wins, and leads by 5.
    """
    middles = low + np.array([60, 130, 200]) / 255 * (high - low)
    pixels, sharpness = 16 * channels, 10 / (middles[1] - middles[0]) ** 2
    return linear(sharpness * np.tile(middles / pixels, (pixels, 1)), -sharpness * (middles**2) / 2, (4, 4, channels))


def checked(model, images=BYTES, labels=LABELS, min_accuracy=0.5, seed=0):
    seeds = as_seeds(images if labels is None else (images, labels))
    return check(classifier(model, "m"), seeds, min_accuracy, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("low", "high", "images", "scaling"),
    [
        (0, 1, BYTES, "/255"),
        (0, 255, BYTES, "as is"),
        (-1, 1, BYTES, "[-1,1]"),
        (0, 1, BYTES / 255.0, "as is"),
        (0, 255, BYTES / 255.0, "*255"),
        (-1, 1, BYTES / 255.0, "[-1,1]"),
        (-1, 1, BYTES / 127.5 - 1, "as is"),
        (0, 1, BYTES / 127.5 - 1, "+1, /2"),
        (0, 255, BYTES.astype("float32"), "as is"),
    ],
)
def test_the_scaling_is_the_one_in_which_the_model_is_right(low, high, images, scaling):
    contract = checked(by_brightness(low, high), images)
    assert contract.seeds.scaling == scaling
    assert contract.seeds.accuracy == 1.0


def test_of_scalings_that_are_as_accurate_the_likelier_one_is_taken():
    """Two pixels and no bias: the brighter one decides in any scale, the more surely the larger the scale."""
    images = np.array([[[250, 0]], [[0, 250]], [[250, 0]], [[200, 0]], [[0, 200]]], "uint8")
    labels = np.array([0, 1, 0, 1, 0])  # the last two are wrong
    contract = check(classifier(two_pixels(), "m"), as_seeds((images, labels)), 0.5, np.random.default_rng(0))
    assert (contract.seeds.scaling, contract.seeds.accuracy) == ("/255", 0.6)
    faint = as_seeds((images[:3] // 10, labels[:3]))  # leads of 0.1 by /255, 0.2 by [-1,1], 25 as is
    assert check(classifier(two_pixels(), "m"), faint, 0.5, np.random.default_rng(0)).seeds.scaling == "as is"


def best(logits, labels, *factors):
    return _best(logits, labels, factors or [1.0] * len(logits))


def answers(right, surprise):
    """Logits of 40 seeds of class 0 among two: the first so many are right, the others surprise by so much each."""
    odds = np.full(40, -9.0)
    odds[right:] = np.log(np.expm1(surprise))
    return np.stack([0 * odds, odds], -1)


def test_a_scaling_gives_way_only_to_one_that_is_surely_better():
    labels, mild, harsh = np.zeros(40, int), np.linspace(1, 2, 12), np.linspace(4, 5, 12)
    usual = answers(28, mild)
    assert best([usual, answers(29, mild[1:])], labels) == 0  # one more is luck
    assert best([usual, answers(40, [])], labels) == 1
    assert best([answers(40, []), usual], labels) == 0
    assert best([answers(28, mild + 1), usual], labels) == 1  # as many, and less surprised by each
    assert best([usual, answers(28, harsh)], labels) == 0
    assert best([usual, answers(28, mild[::-1])], labels) == 0  # by some less, by some more
    assert best([usual, answers(31, harsh[3:])], labels) == 0  # three more, and far surer of its mistakes
    assert best([np.full((40, 2), np.nan), usual], labels) == 1


def test_a_scaling_leads_as_trained_networks_do():
    """One 255 times as large as the right one classifies as well, and hardly a label surprises the model there."""
    labels = np.zeros(40, int)
    faint, doubtful, sure, surest = (np.tile([odds, 0.0], (40, 1)) for odds in (0.2, 0.5, 2.0, 251.0))
    assert best([sure, surest], labels) == 0
    assert best([surest, sure], labels) == 1
    assert best([faint, sure], labels) == 1
    assert best([faint, surest], labels) == 1  # where no scaling does the less surprising one is taken
    assert best([doubtful, sure, 2 * sure], labels) == 2


def test_probabilities_of_zero_tell_no_lead():
    """Where the likelier scaling leads by 2, one 255 times as large leads by far more than its logarithms say."""
    labels, cut = np.zeros(40, int), float(np.log(LEAST))
    doubtful, sure, surest = (np.tile([0.0, -odds], (40, 1)) for odds in (0.5, 2.0, -cut))
    assert best([sure, surest], labels, 1.0, 255.0) == 0
    assert best([sure, surest], labels, 1.0, 2.0) == 1
    assert best([doubtful, surest], labels, 1.0, 255.0) == 1  # 128 there, as some networks do
    assert best([sure, surest - 1], labels, 1.0, 255.0) == 1  # no probability of 0, so it is the lead


def test_a_function_is_seen_in_the_scaling_that_its_network_is_seen_in():
    """One that is right and not very sure, as of labels that are smoothed."""
    logits = linear(2 * np.eye(2), np.zeros(2), (1, 2, 1))
    model = keras.Sequential([logits, layers.Softmax()])
    images = np.array([[[250, 0]], [[0, 250]]] * 10, "uint8")
    seeds = as_seeds((images, np.array([0, 1] * 10)))
    for form in (model, lambda batch: model(batch).numpy()):
        assert check(classifier(form, "m"), seeds, 0.5, np.random.default_rng(0)).seeds.scaling == "[-1,1]"


def test_answers_that_are_ones_and_zeros_are_no_unsure_logits():
    """A network taught by squared error answers so in its own scale; one 255 times as large looks surer."""
    classes = np.arange(40) % 4
    one_hot = 0.8 * np.eye(4)[classes] + 0.05
    assert best([one_hot, 255 * one_hot], classes) == 0
    assert best([255 * one_hot, one_hot], classes) == 1
    assert best([one_hot - 0.1, 255 * one_hot], classes) == 1  # sums of 0.6
    assert best([6 * np.eye(4)[classes] - 1.25, 255 * one_hot], classes) == 1  # sums of 1, but of logits


def test_without_labels_most_classes_are_seen_where_the_model_leads_as_networks_do():
    classes = np.arange(40) % 4
    three, four = np.minimum(classes, 2), classes
    one_hot = np.eye(4)
    assert best([5 * one_hot[three], 5 * one_hot[four]], None) == 1
    assert best([5 * one_hot[four], 6 * one_hot[four]], None) == 0
    assert best([5 * one_hot[three], 300 * one_hot[four]], None) == 0
    assert best([0.1 * one_hot[four], 5 * one_hot[three]], None) == 1


def test_far_more_right_seeds_count_before_any_lead():
    labels = np.zeros(40, int)
    half, sure, surest = answers(20, np.ones(20)), answers(40, []), np.tile([300.0, 0.0], (40, 1))
    assert best([half, sure], labels) == 1
    assert best([half, surest], labels) == 1
    assert best([answers(37, np.ones(3)), surest], labels) == 0


def test_standardised_seeds_are_given_back_as_they_were():
    standardised = (BYTES / 255.0 - 0.5) / 0.2
    contract = checked(by_brightness(-2.5, 2.5), standardised)
    assert (contract.seeds.scaling, contract.seeds.accuracy) == ("as is", 1.0)
    given_back = contract.subject.scaling.scale(contract.search.images)
    assert given_back.min() >= standardised.min() - 1e-6


def test_imagenet_means_are_those_of_torchvision_and_of_caffe():
    tried = {scaling.name: scaling for scaling in usual(np.zeros(3), np.full(3, 255.0))}
    torch, caffe = tried["ImageNet means"], tried["ImageNet means, BGR"]
    image = np.array([1.0, 0.0, 0.5])
    assert torch.scale(image) == pytest.approx([0.515 / 0.229, -0.456 / 0.224, 0.094 / 0.225], rel=1e-5)
    assert caffe.scale(image) == pytest.approx([127.5 - 103.939, -116.779, 255 - 123.68], rel=1e-5)


def test_a_colour_model_gets_its_grey_seeds_in_every_channel():
    contract = checked(by_brightness(0, 1, channels=3))
    assert contract.seeds.accuracy == 1.0
    assert contract.search.images.shape[1:] == contract.subject.image_shape == (4, 4, 3)
    assert np.ptp(contract.search.images, axis=3).max() == 0


@pytest.mark.parametrize("scale", [255, 1])
def test_a_grey_model_gets_the_luminance_of_its_colour_seeds(scale):
    colours = np.repeat(BYTES, 3, axis=3)
    contract = checked(by_brightness(0, scale), colours)
    assert contract.seeds.accuracy == 1.0
    assert contract.subject.image_shape == (4, 4, 1)


def test_luminance_weighs_green_most():
    pure = np.eye(3, dtype="uint8")[:, None, None] * np.full((3, 4, 4, 3), 255, "uint8")
    grey = fit_channels(classifier(by_brightness(0, 1), "m"), as_seeds(pure))
    assert grey.images[:, 0, 0, 0] == pytest.approx([0.299, 0.587, 0.114])
    assert (grey.low.tolist(), grey.high.tolist()) == ([0], [255])


@pytest.mark.parametrize("shape", [(16,), (4, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_without_channels_takes_grey_and_colour_seeds(shape, channels):
    image = keras.Input(shape)
    contract = checked(
        keras.Model(image, by_brightness(0, 1)(keras.ops.reshape(image, (-1, 4, 4, 1)))), BYTES.repeat(channels, 3)
    )
    assert contract.seeds.accuracy == 1.0
    assert contract.subject.image_shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((30, 5, 4), "uint8"), r"takes images of shape \(4, 4, 1\), those given are \(5, 4, 1\)"),
        (np.zeros((30, 4, 4, 2), "uint8"), r"takes images of shape \(4, 4, 1\), those given are \(4, 4, 2\)\. Give"),
        (
            np.zeros((30, 1, 4, 4), "uint8"),
            r"those given are \(1, 4, 4\)\. They seem to have their channels first: np\.",
        ),
    ],
)
def test_seeds_of_another_shape_are_refused(images, complaint):
    with pytest.raises(ContractError, match=complaint):
        checked(by_brightness(0, 1), images)


def test_a_model_for_any_height_and_width_takes_them_all():
    model = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    )
    model.layers[-1].set_weights([np.array([[60, 130, 200]]) / 255.0, -((np.array([60, 130, 200]) / 255) ** 2) / 2])
    assert checked(model).subject.image_shape == (4, 4, 1)


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS - 1])
def test_labels_that_the_model_does_not_know_are_refused(labels):
    complaint = rf"labels run from {labels.min()} to {labels.max()}, but the model knows the classes 0 to 2"
    with pytest.raises(ContractError, match=complaint):
        checked(by_brightness(0, 1), labels=labels)


def test_a_model_less_right_than_wanted_is_refused_with_what_was_tried():
    labels = LABELS.copy()
    labels[:6] = 1  # 24 of 30 stay right
    assert checked(by_brightness(0, 1), labels=labels, min_accuracy=0.8).seeds.accuracy == 0.8
    with pytest.raises(ContractError, match=r"only 80% .* \(tried /255 80%, as is 33%, .* \(now 0.9\)"):
        checked(by_brightness(0, 1), labels=labels, min_accuracy=0.9)


def test_seeds_that_the_model_gets_wrong_are_left_out():
    labels = LABELS.copy()
    labels[:6] = 1
    contract = checked(by_brightness(0, 1), labels=labels)
    assert (contract.seeds.count, contract.seeds.search, contract.seeds.held_out) == (30, 12, 12)
    assert np.bincount(np.concatenate([contract.search.labels, contract.held_out.labels])).tolist() == [4, 10, 10]


def test_unlabelled_seeds_take_the_models_own_classes():
    contract = checked(by_brightness(0, 1), labels=None)
    assert contract.seeds.accuracy is None
    assert contract.seeds.scaling == "/255"
    assert np.bincount(np.concatenate([contract.search.labels, contract.held_out.labels])).tolist() == [10, 10, 10]


def test_search_and_held_out_seeds_share_no_image():
    noisy = BYTES + np.arange(30, dtype="uint8")[:, None, None, None] % 4  # now all differ
    contract = checked(by_brightness(0, 1), noisy)
    searched, kept = ({image.tobytes() for image in half.images} for half in (contract.search, contract.held_out))
    assert not searched & kept
    assert len(contract.search) == len(contract.held_out) == 15


def test_of_many_seeds_some_choose_the_scaling_and_all_are_judged():
    images, labels, asked = np.repeat(BYTES, 20, 0), np.repeat(LABELS, 20), []
    images[::3] = 255 - images[::3]
    model = by_brightness(0, 255)

    def answers(images):
        asked.append(len(images))
        return np.asarray(model(images))

    contract = check(classifier(answers, "m"), as_seeds((images, labels)), 0.5, np.random.default_rng(0))
    right = np.mean(model.predict(images, verbose=0).argmax(-1) == labels)
    assert (contract.seeds.count, contract.seeds.scaling, contract.seeds.accuracy) == (600, "as is", right)
    assert 0.5 < right < 1
    assert len(contract.known) == round(600 * right)
    assert sum(asked) == 3 * SAMPLE + 600


def test_of_few_seeds_all_choose_the_scaling_once():
    images, labels, asked = np.repeat(BYTES, 16, 0), np.repeat(LABELS, 16), []
    model = by_brightness(0, 255)

    def answers(images):
        asked.append(len(images))
        return np.asarray(model(images))

    check(classifier(answers, "m"), as_seeds((images, labels)), 0.5, np.random.default_rng(0))
    assert sum(asked) == 3 * 480


def test_a_constant_model_is_refused():
    constant = linear(np.zeros((16, 3)), [0, 5, 0], (4, 4, 1))
    with pytest.raises(ContractError, match=r"gives all 30 seeds the class 1. Give seeds of at least two classes"):
        checked(constant, labels=None)


def test_answers_that_are_no_numbers_are_refused():
    image = keras.Input((4, 4, 1))
    broken = keras.Model(image, keras.ops.log(by_brightness(0, 1)(image) - 1e9))
    with pytest.raises(ContractError, match="answers NaN or infinite values for clean seeds"):
        checked(broken, labels=None)


def test_a_function_may_answer_fewer_classes_than_the_seeds_have():
    model = by_brightness(0, 1)
    contract = checked(lambda images: keras.ops.convert_to_numpy(keras.ops.softmax(model(images)[:, :2])))
    assert (contract.seeds.scaling, contract.seeds.accuracy) == ("/255", pytest.approx(2 / 3))
    assert contract.subject.num_classes == 2


def test_a_function_tells_its_classes_by_its_answers():
    model = by_brightness(0, 1)
    contract = checked(lambda images: keras.ops.convert_to_numpy(keras.ops.softmax(model(images))))
    assert contract.subject.num_classes == 3
    assert contract.seeds.accuracy == 1.0
    assert not contract.subject.gradients


def test_a_function_that_gives_one_number_per_image_is_refused():
    with pytest.raises(ContractError, match=r"m answers 30 images with shape \(30,\). Give a function from images"):
        checked(lambda images: images.mean((1, 2, 3)))


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array), seed=st.integers(0, 99))
def test_halves_are_disjoint_complete_and_even_in_every_class(labels, seed):
    first, second = halves(labels, np.random.default_rng(seed))
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert 0 <= len(first) - len(second) <= 1
    assert np.abs(np.bincount(labels[first], minlength=6) - np.bincount(labels[second], minlength=6)).max() <= 1


def test_halves_depend_on_their_generator_only():
    first, again, other = (halves(LABELS, np.random.default_rng(seed))[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


class LessTheMean(layers.Layer):
    """Takes the mean over the batch off each image."""

    def call(self, values):
        return values - keras.ops.mean(values, axis=0, keepdims=True)


def test_a_model_that_answers_an_image_otherwise_alone_is_out_of_scope():
    model = two_pixels()
    model = keras.Model(model.inputs, LessTheMean()(model.outputs[0]))
    images = np.random.default_rng(0).random((40, 1, 2, 1)).astype("float32")
    with pytest.raises(OutOfScopeError, match="the model answers images otherwise alone than with others, so that"):
        check(classifier(model, "m"), as_seeds(images), 0.0, np.random.default_rng(0))
    together = keras.Model(model.inputs, model.outputs[0] - keras.ops.mean(model.outputs[0], axis=0, keepdims=True))
    with pytest.raises(OutOfScopeError, match=r"layer mean\w* brings the images of a batch together, so that"):
        check(classifier(together, "m"), as_seeds(images), 0.0, np.random.default_rng(0))


class Counted(layers.Layer):
    """Fails once the number of images varies, as unfolding does."""

    def compute_output_spec(self, values):
        return keras.KerasTensor(values.shape, values.dtype)

    def call(self, values):
        if values.shape[0] is None:
            raise ValueError("how many images?")
        return values


def test_a_model_that_fails_on_another_number_of_images_is_an_error_of_the_model():
    model = two_pixels()
    model = keras.Model(model.inputs, Counted()(model.outputs[0]))
    images = np.random.default_rng(0).random((40, 1, 2, 1)).astype("float32")
    with pytest.raises(ContractError, match=r"the model cannot be computed: ValueError: how many images\?"):
        check(classifier(model, "m"), as_seeds(images), 0.0, np.random.default_rng(0))
