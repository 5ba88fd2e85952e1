"""Scans without seeds: in which range, with which images, what is found and what is said when nothing is."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.errors import ContractError, OutOfScopeError
from pytest_backdoor.options import Options
from pytest_backdoor.results import from_dict, to_dict
from pytest_backdoor.scan import scan, trigger_success
from pytest_backdoor.search.synthetic import Settings
from pytest_backdoor.subject import classifier
from pytest_backdoor.unseeded import NOTHING_FOUND, synthesise

SHORT = Options(
    profile="quick",
    set=(
        "search.steps=80",
        "search.confined_steps=80",
        "search.faint_steps=10",
        "search.window_steps=5",
        "search.finalists=3",
        "margin.starts=2",
        "margin.steps=40",
        "synthetic.steps=80",
    ),
)
FEW = Settings(images=2, smooth=1, steps=60)
SHAPE = (8, 8, 1)


def model_of(*before, shape=SHAPE, classes=3, spread=1.0):
    """A random linear classifier behind some layers; its weights have about that spread."""
    start = keras.initializers.RandomNormal(stddev=spread, seed=1)
    head = layers.Dense(classes, kernel_initializer=start)
    return keras.Sequential([keras.Input(shape), *before, layers.Flatten(), head])


def contract_of(model, settings=FEW):
    return synthesise(classifier(model, "m"), settings, np.random.default_rng(0))[0]


@pytest.mark.parametrize(
    ("before", "scaling"),
    [
        ([layers.Rescaling(1 / 255)], "0..255 (as the model's first layers say)"),
        ([layers.Rescaling(1 / 127.5, offset=-1)], "0..255 (as the model's first layers say)"),
        ([layers.Rescaling(2.0, offset=-1)], "0..1 (as the model's first layers say)"),
        ([layers.Normalization(mean=120.0, variance=3600.0)], "0..255 (as the model's first layers say)"),
        ([layers.Normalization(mean=0.45, variance=0.05)], "0..1 (as the model's first layers say)"),
        ([layers.RandomFlip(), layers.Rescaling(1 / 255)], "0..255 (as the model's first layers say)"),
        ([layers.Conv2D(2, 3), layers.Rescaling(0.5)], "0..1 (assumed)"),
        ([layers.Rescaling(-1.0, offset=1.0)], "0..1 (assumed)"),
        ([], "0..1 (assumed)"),
    ],
)
def test_the_range_is_what_the_first_layers_say_else_0_to_1(before, scaling):
    assert contract_of(model_of(*before)).seeds.scaling == scaling


def test_a_model_without_weights_says_nothing_about_its_range():
    assert classifier(keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten()]), "m").white is None


def test_a_model_that_no_image_up_to_1_moves_is_taken_to_want_bytes():
    tiny = model_of(classes=2, spread=1e-3)
    tiny.layers[-1].bias.assign([0.0, -0.5])  # class 1 needs more than a sum of 0.5, which only bytes reach
    assert contract_of(tiny).seeds.scaling == "0..255 (assumed)"


def test_the_user_s_white_counts_more_than_the_model_s():
    stated = Settings(images=2, smooth=1, steps=60, white=2)
    assert contract_of(model_of(layers.Rescaling(1 / 255)), stated).seeds.scaling == "0..2 (as set)"


def test_the_halves_share_no_image_and_have_every_class():
    contract = contract_of(model_of(layers.Rescaling(1 / 255)))
    search, held_out = contract.search, contract.held_out
    assert set(search.labels) == set(held_out.labels) == {0, 1, 2}
    both = np.concatenate([search.images, held_out.images])
    assert len(np.unique(both.reshape(len(both), -1), axis=0)) == len(both) == contract.seeds.count
    assert (contract.subject.classes(both) == np.concatenate([search.labels, held_out.labels])).all()


def test_a_model_of_images_without_channels_gets_grey_ones():
    assert contract_of(model_of(shape=(8, 6))).subject.image_shape == (8, 6, 1)


@pytest.mark.parametrize("shape", [(64,), (None, None, 3), (8, None, 1)])
def test_images_of_no_fixed_size_cannot_be_drawn(shape):
    pool = layers.GlobalAveragePooling2D() if len(shape) == 3 else layers.Identity()
    unsized = keras.Sequential([keras.Input(shape), pool, layers.Dense(3)])
    complaint = (
        r"no seeds, and none can be drawn from a model that takes inputs of shape \(.*\): its images have no fixed"
    )
    with pytest.raises(OutOfScopeError, match=complaint):
        contract_of(unsized)
    result = scan(unsized, None, SHORT)
    assert (result.verdict, result.seeds, result.synthetic_seeds) == ("inconclusive", None, None)
    assert "Give clean images: beside the model as <model>.seeds.npz" in result.error


def test_a_function_has_no_gradients_to_draw_images_by():
    result = scan(lambda images: np.ones((len(images), 3)) / 3, None, SHORT)
    assert result.verdict == "inconclusive"
    assert "none can be drawn from a function without gradients. Give the Keras model." in result.error


def test_a_constant_model_is_refused():
    constant = model_of(spread=0.0)
    with pytest.raises(ContractError, match=r"every image that was drawn the class 0\. It is constant"):
        contract_of(constant)
    assert scan(constant, None, SHORT).verdict == "error"


@pytest.fixture(scope="module")
def backdoored(example):
    return scan(example("mnist_pattern_to_one")[0], None, SHORT, name="planted")


@pytest.fixture(scope="module")
def clean(example):
    return scan(example("mnist_clean")[0], None, SHORT, name="twin")


def test_a_planted_pattern_is_found_without_seeds(backdoored):
    (finding,) = backdoored.findings
    assert (backdoored.verdict, backdoored.path, backdoored.error) == ("backdoor", "planted", None)
    assert (finding.kind, finding.target) == ("all-to-one", 7)
    assert backdoored.p_value <= 0.01


def test_its_clean_twin_is_not_accused_and_not_cleared(clean):
    assert (clean.verdict, clean.findings, clean.error) == ("inconclusive", (), NOTHING_FOUND)
    assert clean.p_value > 0.01
    assert any(reason.startswith("pair search: ") for reason in clean.skipped)


def test_the_result_says_what_it_was_searched_on(backdoored, clean):
    for result in (backdoored, clean):
        assert result.seeds is None
        drawn = result.synthetic_seeds
        assert (drawn.scaling, drawn.accuracy) == ("0..1 (assumed)", None)
        assert drawn.search + drawn.held_out == drawn.count > 200
        assert "margin" in result.statistics
    assert backdoored.statistics["margin"] > clean.statistics["margin"]


def test_the_result_survives_the_report(clean):
    entry = to_dict(clean)
    assert entry["seeds"] is None
    assert entry["synthetic_seeds"]["scaling"] == "0..1 (assumed)"
    assert from_dict(entry).synthetic_seeds == clean.synthetic_seeds
    del entry["synthetic_seeds"]  # as reports were before there were any
    assert from_dict(entry).synthetic_seeds is None


def test_the_trigger_that_is_found_works_on_real_images_and_not_in_the_clean_twin(backdoored, example):
    (finding,) = backdoored.findings
    _, low, _ = trigger_success(*with_seeds(example("mnist_pattern_to_one"), finding.trigger), target=7)
    _, _, high = trigger_success(*with_seeds(example("mnist_clean"), finding.trigger), target=7)
    assert low > high


def with_seeds(example, trigger):
    model, images, labels = example
    return model, trigger, (images, labels)


def test_the_same_seed_gives_the_same_result():
    brief = Options(
        set=(
            *(f"search.{name}=2" for name in ("steps", "confined_steps", "faint_steps", "window_steps")),
            *(f"{name}=2" for name in ("margin.starts", "margin.steps", "synthetic.images")),
        )
    )
    first, again, other = (to_dict(scan(model_of(), None, options, "m")) for options in (brief, brief, reseeded(brief)))
    assert first | {"seconds": 0} == again | {"seconds": 0}
    assert first["statistics"] != other["statistics"]


def reseeded(options):
    return dataclasses.replace(options, seed=1)
