"""The model under test: its logits, whatever its head."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

from pytest_backdoor.errors import ContractError
from pytest_backdoor.network import layer_outputs, mixing, without_softmax
from pytest_backdoor.scalings import Scaling
from pytest_backdoor.search.margin import Settings, margins
from pytest_backdoor.subject import BATCH, classifier
from tests.tiny import AS_IS, after, linear, sequential

IMAGES = np.random.default_rng(0).random((5, 6, 6, 1)).astype("float32")


def filled(model):
    """The model with random weights of unit size, so that its answers are far from even."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype == "float32":
            signs = 1 if "variance" in weight.path else rng.choice([-1, 1], weight.shape)
            weight.assign(rng.uniform(0.2, 0.6, weight.shape) * signs)
    return model


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def subject_of(model, scaling=AS_IS):
    return classifier(model, "m").subject(scaling, (6, 6, 1))


def nested():
    return keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Rescaling(2.0), sequential(layers.Dense(4), layers.Softmax())]
    )


def nested_twice():
    image = keras.Input((6, 6, 1))
    return keras.Model(image, keras.Sequential([keras.Input((6, 6, 1)), nested()])(layers.Rescaling(0.5)(image)))


def shared_head():
    """The model's last layer answers other inputs first."""
    head = layers.Dense(4, activation="softmax")
    image = keras.Input((6, 6, 1))
    head(keras.Input((36,)))
    return keras.Model(image, head(layers.Rescaling(3.0)(layers.Flatten()(image))))


def ensemble():
    """The mean of two models' probabilities, which are those of one if both are the same."""
    image, model = keras.Input((6, 6, 1)), sequential(layers.Dense(4, activation="softmax"))
    return keras.Model(image, layers.Average()([model(image), model(image)]))


HEADS = {
    "ensemble": ensemble,
    "dense": lambda: sequential(layers.Dense(4, activation="softmax")),
    "softmax layer": lambda: sequential(layers.Dense(4), layers.Softmax()),
    "activation layer": lambda: sequential(layers.Dense(4), layers.Activation("softmax")),
    "layer as activation": lambda: sequential(layers.Dense(4, activation=layers.Softmax())),
    "operation": lambda: after(ops.softmax),
    "function": lambda: after(keras.activations.softmax),
    "nested": nested,
    "nested twice": nested_twice,
    "shared head": shared_head,
    "dropout behind": lambda: sequential(layers.Dense(4, activation="softmax"), layers.Dropout(0.5)),
    "flattened twice": lambda: sequential(layers.Dense(4), layers.Softmax(), layers.Flatten(), layers.Reshape((4,))),
    "normalised": lambda: sequential(layers.BatchNormalization(), layers.Dense(4, activation="softmax")),
    "no channels": lambda: sequential(layers.Dense(4, activation="softmax"), shape=(6, 6)),
    "flat": lambda: sequential(layers.Dense(4, activation="softmax"), shape=(36,)),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_softmax_of_the_logits_is_the_models_answer(head):
    model = filled(HEADS[head]())
    answers = ops.convert_to_numpy(model(IMAGES.reshape(5, *model.input_shape[1:])))
    logits = subject_of(model).predict(IMAGES)
    assert softmax(logits) == pytest.approx(answers, abs=1e-5)
    assert logits.min() < 0 or logits.max() > 1  # not the probabilities themselves


def test_a_model_of_logits_is_left_as_it_is():
    model = filled(sequential(layers.Dense(4)))
    assert subject_of(model).predict(IMAGES) == pytest.approx(ops.convert_to_numpy(model(IMAGES)), abs=1e-6)


def test_a_model_that_only_passes_its_input_on_is_left_as_it_is():
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Flatten()])
    assert without_softmax(model).output_shape == (None, 4)


@pytest.mark.parametrize(
    "head",
    [
        lambda: sequential(layers.Dense(1, activation="sigmoid")),
        lambda: sequential(layers.Dense(1), layers.Activation("sigmoid")),
        lambda: keras.Sequential([keras.Input((6, 6, 1)), sequential(layers.Dense(1, activation="sigmoid"))]),
    ],
    ids=["dense", "activation layer", "nested"],
)
def test_one_sigmoid_becomes_two_classes(head):
    model = filled(head())
    answers = ops.convert_to_numpy(model(IMAGES))[:, 0]
    subject = subject_of(model)
    assert subject.num_classes == 2
    assert softmax(subject.predict(IMAGES)) == pytest.approx(np.stack([1 - answers, answers], 1), abs=1e-5)


def test_dropout_and_batch_normalisation_answer_as_in_inference():
    dropout = subject_of(filled(sequential(layers.Dropout(0.5), layers.Dense(4))))
    assert np.array_equal(dropout.predict(IMAGES), dropout.predict(IMAGES))
    normalised = subject_of(filled(sequential(layers.BatchNormalization(), layers.Dense(4))))
    assert normalised.predict(IMAGES)[:1] == pytest.approx(normalised.predict(IMAGES[:1]), abs=1e-5)


def test_the_model_itself_is_not_changed():
    model = filled(sequential(layers.Dense(4, activation="softmax")))
    before = [np.array(weight) for weight in model.get_weights()]
    subject_of(model).predict(IMAGES)
    assert model.layers[-1].activation is keras.activations.softmax
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_images_are_scaled_and_turned_before_the_model_sees_them():
    weights = np.zeros((36, 3, 3))
    weights[0] = np.eye(3)  # logits are the channels of the first pixel
    scaling = Scaling("test", np.array([2, 3, 4], "float32"), np.array([-1, 0, 1], "float32"), reverse=True)
    model = linear(weights.reshape(108, 3), np.zeros(3), (6, 6, 3))
    image = np.zeros((1, 6, 6, 3), "float32")
    image[0, 0, 0] = 0.1, 0.2, 0.3
    subject = classifier(model, "m").subject(scaling, (6, 6, 3))
    assert subject.predict(image)[0] == pytest.approx([2 * 0.3 - 1, 3 * 0.2, 4 * 0.1 + 1])


def test_predictions_in_batches_keep_their_order_and_none_are_none():
    subject = subject_of(filled(sequential(layers.Dense(4))))
    many = np.tile(IMAGES, (BATCH // 5 + 9, 1, 1, 1))
    assert len(many) > BATCH
    assert subject.classes(many).tolist() == np.tile(subject.classes(IMAGES), BATCH // 5 + 9).tolist()
    assert subject.predict(IMAGES[:0]).shape == (0, 4)


def test_the_outputs_of_all_layers_are_counted_by_hand():
    stack = [layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(5)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *stack])
    by_hand = 6 * 6 * 3 + 3 * 3 * 3 + 27 + 5
    assert layer_outputs(keras.Model(model.inputs, model.outputs), (6, 6, 2)) == by_hand
    nested = keras.Sequential([keras.Input((6, 6, 2)), model, layers.Softmax()])
    assert layer_outputs(keras.Model(nested.inputs, nested.outputs), (6, 6, 2)) == by_hand + 5
    subject = classifier(model, "m", memory=10_000).subject(AS_IS, (6, 6, 2))
    assert subject.footprint == 4 * (2 * by_hand + 6 * 72 + 10 * 5)  # 3264 bytes
    assert subject.together == 3
    assert subject.pooled == 2500 // (4 * 72)


def test_an_open_height_and_width_are_those_of_the_images():
    stack = [layers.Conv2D(3, 3, padding="same"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((None, None, 1)), *stack])
    subject = classifier(model, "m").subject(AS_IS, (10, 20, 1))
    assert subject.outputs == 10 * 20 * 3 + 3 + 2


def test_little_memory_changes_no_prediction():
    model = filled(sequential(layers.Dense(4)))
    tight = dataclasses.replace(subject_of(model), memory=1)
    assert tight.together == tight.pooled == 1
    assert tight.predict(IMAGES) == pytest.approx(subject_of(model).predict(IMAGES), rel=1e-5)


def test_a_function_gives_the_logarithm_of_its_probabilities_or_its_scores():
    seen = []

    def answer(images):
        seen.append(images.shape)
        return np.array([[0.25, 0.75], [1.0, 0.0]])

    logits = subject_of(answer).predict(IMAGES[:2])
    assert softmax(logits) == pytest.approx(np.array([[0.25, 0.75], [1.0, 0.0]]), abs=1e-6)
    assert seen == [(2, 6, 6, 1)]
    assert subject_of(lambda images: [[-1.0, 3.0]]).predict(IMAGES[:1]).tolist() == [[-1.0, 3.0]]


@pytest.mark.parametrize("answers", [np.zeros(5), np.zeros((4, 2)), np.zeros((5, 2, 2))])
def test_a_function_must_answer_each_image_with_a_row(answers):
    with pytest.raises(ContractError, match=r"m answers 5 images with shape .*Give a function from images to prob"):
        subject_of(lambda images: answers).predict(IMAGES)


def test_what_is_no_model_is_refused():
    with pytest.raises(ContractError, match=r"^m is of type list. Give a Keras model, a model file or a function.$"):
        classifier([1, 2], "m")


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(damage):
    model = sequential(layers.Dense(4, name="first"), layers.Dense(4, name="second"))
    kernel = np.zeros((36, 4))
    kernel[3, 2] = damage
    model.get_layer("first").set_weights([kernel, np.zeros(4)])
    with pytest.raises(
        ContractError, match=r"weights of \S*first/kernel hold NaN or infinite values \(1 of 4 tensors\)"
    ):
        classifier(model, "m")


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_a_model_of_any_precision_is_searched_in_single_precision(precision):
    model = filled(sequential(layers.Dense(8, dtype=precision), layers.Dense(4, dtype=precision)))
    subject = subject_of(model)
    logits, outputs = subject.activations(IMAGES)
    assert {each.dtype for each in (subject.logits(IMAGES), logits, *outputs)} == {subject.logits(IMAGES).dtype}
    assert subject.predict(IMAGES).dtype == np.float32
    assert subject.resume(IMAGES, 0, outputs[0]).dtype == logits.dtype
    assert margins(subject, Settings(starts=2, steps=2), np.random.default_rng(0)).largest.shape == (4,)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("change", ["lora", "float8"])
def test_a_head_that_was_changed_after_it_was_built_is_scanned_as_it_is(activation, change):
    model = filled(sequential(layers.Dense(16, name="first"), layers.Dense(16, activation=activation, name="last")))
    last = model.get_layer("last")
    if change == "lora":
        last.enable_lora(2, lora_alpha=16)
        last.lora_kernel_b.assign(np.full(last.lora_kernel_b.shape, 0.1))
    else:
        last.quantize("float8")
    wanted = ops.convert_to_numpy(model(IMAGES, training=False))
    logits = subject_of(model).predict(IMAGES)
    if activation == "softmax":
        assert softmax(logits) == pytest.approx(wanted, abs=1e-4)
    assert np.array_equal(logits.argmax(-1), wanted.argmax(-1))


@pytest.mark.parametrize(("units", "activation"), [(4, "softmax"), (1, "sigmoid")])
def test_a_head_that_is_used_twice_is_scanned_as_it_is(units, activation):
    head = layers.Dense(units, activation=activation)
    image = keras.Input((6, 6, 1))
    model = filled(keras.Model(image, head(head(layers.Dense(units)(layers.Flatten()(image))))))
    chances = softmax(subject_of(model).predict(IMAGES))
    assert chances[:, -units:] == pytest.approx(ops.convert_to_numpy(model(IMAGES, training=False)), abs=1e-4)


def picked_output():
    """A model that answers with the second of two halves that a nested model puts out."""
    image = keras.Input((6, 6, 1))
    flat = layers.Flatten()(image)
    halves = [layers.Softmax()(layers.Dense(4)(flat)) for _ in range(2)]
    outer = keras.Input((6, 6, 1))
    return keras.Model(outer, keras.Model(image, halves)(outer)[1])


def masked_softmax():
    image = keras.Input((6, 6, 1))
    first, second = (layers.Dense(4)(layers.Flatten()(image)) for _ in range(2))
    return keras.Model(image, layers.Softmax()(first, mask=second > 0))


@pytest.mark.parametrize("build", [picked_output, masked_softmax])
def test_a_softmax_that_is_part_of_more_is_left_where_it_is(build):
    model = filled(build())
    wanted = ops.convert_to_numpy(model(IMAGES, training=False))
    assert softmax(subject_of(model).predict(IMAGES)) == pytest.approx(wanted, abs=1e-4)


def test_sigmoids_that_are_all_one_answer_the_first_class():
    model = linear(np.array([[0.0, 400.0]]), np.array([400.0, 0.0]), (1, 1, 1))
    model = keras.Model(model.inputs, layers.Activation("sigmoid")(model.outputs[0]))
    subject = classifier(model, "m").subject(AS_IS, (1, 1, 1))
    assert subject.classes(np.full((1, 1, 1, 1), 1.0, "float32")).tolist() == [0]  # 1.0 and 1.0, as the model says
    assert subject.classes(np.full((1, 1, 1, 1), 0.01, "float32")).tolist() == [0]


def test_a_layer_that_fails_on_the_images_is_an_error_of_the_model():
    model = after(lambda scores: ops.softmax(ops.cholesky(-scores[:, :, None] * scores[:, None, :])[:, 0]))
    with pytest.raises(ContractError, match=r"the model cannot be computed: \w+: "):
        classifier(model, "m")


def test_a_sequential_that_its_first_call_built_takes_any_number_of_images():
    model = filled_when_called(keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]))
    assert model.inputs[0].shape[0] == 2
    wanted = keras.ops.convert_to_numpy(model(IMAGES))
    assert subject_of(model).predict(IMAGES) == pytest.approx(wanted, abs=1e-5)
    inner = keras.Sequential([keras.Sequential([layers.Conv2D(2, 3), layers.Flatten()]), layers.Dense(3)])
    wanted = keras.ops.convert_to_numpy(filled_when_called(inner)(IMAGES))
    assert subject_of(inner).predict(IMAGES) == pytest.approx(wanted, abs=1e-5)


def filled_when_called(model):
    model(IMAGES[:2])
    return filled(model)


class Failing(layers.Layer):
    """Fails when it is used, and Keras says where in several lines."""

    def compute_output_spec(self, values):
        return keras.KerasTensor(values.shape, values.dtype)

    def call(self, values):
        raise ValueError("as such")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.CategoryEncoding(4), r"InvalidArgumentError: Input \S+ must be non-negative! .* found: -9$"),
        (Failing(), "ValueError: as such$"),
    ],
)
def test_what_a_failing_layer_says_is_told_without_where_it_is(layer, reason):
    with pytest.raises(ContractError, match=f"^the model cannot be computed: {reason}"):
        classifier(after(lambda scores: layer(0 * scores - 9)), "m")


@pytest.mark.parametrize("scale", ["a", None, 10**400, []])
def test_a_rescaling_by_what_is_no_number_is_an_error_of_the_model(scale):
    model = after(lambda scores: scores)
    made = keras.Sequential([keras.Input((6, 6, 1)), layers.Rescaling(1.0), model])
    made.layers[0].scale = scale
    with pytest.raises(ContractError, match=r"the model cannot be computed: \w+: "):
        classifier(made, "m")


@pytest.mark.filterwarnings("error")
def test_a_rescaling_by_zero_says_nothing_of_white():
    assert classifier(sequential(layers.Rescaling(0.0), layers.Dense(2)), "m").white is None


def test_attention_and_recurrence_are_known():
    image = keras.Input((6, 6, 1))
    rows = layers.Reshape((6, 6))(image)
    attending = keras.Model(image, layers.Flatten()(layers.MultiHeadAttention(1, 2)(rows, rows)))
    assert mixing(keras.Sequential([keras.Input((6, 6, 1)), attending, layers.Dense(3)])) == "attention"
    assert mixing(keras.Model(image, layers.Dense(3)(layers.GRU(2)(rows)))) == "recurrence"
    assert mixing(keras.Model(image, layers.Dense(3)(layers.Bidirectional(layers.LSTM(2))(rows)))) == "recurrence"
    assert subject_of(after(layers.Softmax())).mixing == ""


def test_the_scores_of_attention_count_as_outputs():
    image = keras.Input((6, 6, 1))
    rows = layers.Reshape((6, 6))(image)
    one = keras.Model(image, layers.Flatten()(layers.Attention()([rows, rows])))
    two = keras.Model(image, layers.Flatten()(layers.MultiHeadAttention(2, 3)(rows, rows)))
    assert layer_outputs(one, (6, 6, 1)) == 3 * 36 + 6 * 6  # what the layers put out, and the scores
    assert layer_outputs(two, (6, 6, 1)) == 3 * 36 + 2 * 6 * 6
