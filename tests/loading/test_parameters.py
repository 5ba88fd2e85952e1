"""How many weights a layer declares, compared with what Keras makes of it and with what a file stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from pytest_backdoor.errors import UnsafeModelError
from pytest_backdoor.loading.parameters import COUNTS, declared, refuse_disordered
from pytest_backdoor.loading.safety import check

Edited = Callable[[Callable[[dict[str, Any]], None]], Path]


def refusal(path: Path) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        check(path)
    return str(caught.value).removeprefix(f"{path}: ")


def set_head(**settings: object) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["config"]["layers"][-1]["config"].update(settings)


def test_a_small_file_that_declares_400_million_units_is_refused(edited: Edited) -> None:
    path = edited(set_head(units=400_000_000))
    assert path.stat().st_size < 60_000
    message = refusal(path)
    assert message.startswith("the configuration declares at least 2,400,000,100 weights")
    assert "of which layer 'head' has 2,400,000,000, but the file stores " in message
    assert "loading it could exhaust the memory. Save the model again from its source or, if you trust" in message
    assert message.endswith("load it yourself and give the model object to assert_no_backdoor.")


@pytest.mark.parametrize("units", [4e8, 10**300, [10**9, 10**9]])
def test_a_size_of_another_type_is_a_size(units: object, edited: Edited) -> None:
    assert "exhaust the memory" in refusal(edited(set_head(units=units)))


@pytest.mark.parametrize("units", [None, "400000000", True, {}, [], float("nan"), float("inf"), -5])
def test_what_is_no_size_is_left_for_keras_to_refuse(units: object, edited: Edited) -> None:
    check(edited(set_head(units=units)))


def test_many_layers_are_added_up(edited: Edited) -> None:
    def repeat(config: dict[str, Any]) -> None:
        head = config["config"]["layers"][-1]
        head["config"]["units"] = 100_000  # 600,000 weights: below what any file may declare
        config["config"]["layers"] += [head] * 3

    assert "declares at least 2,400,100 weights, of which layer 'head' has 600,000" in refusal(edited(repeat))


def test_a_forged_input_shape_is_counted(edited: Edited) -> None:
    path = edited(lambda config: config["config"]["layers"][-1].update(build_config={"input_shape": [None, 10**9]}))
    assert "layer 'head' has 3,000,000,000" in refusal(path)


@pytest.mark.parametrize("build_config", [None, {}, {"input_shape": None}, {"input_shape": ["x"]}])
def test_a_layer_that_hides_its_input_shape_is_refused(build_config: object, edited: Edited) -> None:
    path = edited(lambda config: config["config"]["layers"][-1].update(build_config=build_config))
    message = refusal(path)
    assert message.startswith("layer 'head' does not state the input shape it was built for")
    assert "Received: a Dense without a build_config." in message


def test_an_operation_on_constants_is_refused_because_loading_would_compute_it(edited: Edited) -> None:
    tile = {
        "module": "keras.src.ops.numpy",
        "class_name": "Tile",
        "config": {"name": "bomb", "repeats": 10**12},
        "registered_name": "Tile",
        "inbound_nodes": [{"args": [[0.0]], "kwargs": {}}],
    }
    message = refusal(edited(lambda config: config["config"]["layers"].append(tile)))
    assert message.startswith("layer 'bomb' is called without an input of the model, so it would be computed while")
    assert "Received: a Tile of constants." in message


def test_an_h5_file_that_declares_too_much_is_refused(edited_h5: Callable[..., Path]) -> None:
    def grow(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        set_head(units=400_000_000)(config)
        file.attrs["model_config"] = json.dumps(config)

    assert "layer 'head' has 400,000,000" in refusal(edited_h5(grow))


def test_an_h5_file_of_a_functional_model_states_its_shapes_in_the_inputs() -> None:
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 7], "keras_history": ["before", 0, 0]}}
    node = {"class_name": "Dense", "config": {"units": 3}, "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}
    assert declared(node) == 21


@pytest.mark.parametrize(
    ("class_name", "config", "shape", "weights"),
    [
        ("Dense", {"units": 5}, [None, 3], 5 * 3),
        ("Dense", {"units": 5, "lora_rank": 2}, [None, 3], 5 * 3 + 2 * (5 + 3)),
        ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": [None, 5]}, [None, 4, 3], 3 * 5),
        ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": [None, 5, 7]}, [None, 4, 3], 3 * 5 * 7),
        ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 5, "lora_rank": 2}, [None, 3], 3 * 5 + 2 * (3 + 5)),
        ("AdditiveAttention", {}, [None, 4, 3], 3),
        ("Embedding", {"input_dim": 4, "output_dim": 3, "lora_rank": 2}, [None, 9], 4 * 3 + 2 * (4 + 3)),
        (
            "Conv2D",
            {"kernel_size": [3, 3], "filters": 8, "lora_rank": 2},
            [None, 9, 9, 4],
            36 * 8 + 2 * (36 + 8),
        ),
        ("EinsumDense", {"equation": "ab,b->ab", "output_shape": 3}, [None, 3], 3),
        ("EinsumDense", {"equation": "ab,ac->bc", "output_shape": 5}, [None, 3], 5),
        ("STFTSpectrogram", {"frame_length": 256, "fft_length": 512}, [], 256 * 512),
        ("LayerScale", {"projection_dim": 6}, [None, 8, 8, 6], 6),
        ("Embedding", {"input_dim": 10, "output_dim": 4}, [], 40),
        ("LSTM", {"units": 5}, [None, 7, 3], 5 * (5 + 3)),
        ("GRU", {"units": 5, "stateful": True}, [100, 7, 3], 5 * (5 + 3 + 100)),
        ("Conv2D", {"filters": 6, "kernel_size": [3, 2], "groups": 2}, [None, 8, 8, 4], 6 * 6 * 2),
        ("Conv2D", {"filters": 6, "kernel_size": 3, "data_format": "channels_first"}, [None, 4, 8, 8], 3 * 6 * 4),
        ("Conv2DTranspose", {"filters": 6, "kernel_size": [3, 3]}, [None, 8, 8, 4], 9 * 6 * 4),
        ("DepthwiseConv2D", {"kernel_size": [3, 3], "depth_multiplier": 2}, [None, 8, 8, 4], 9 * 4 * 2),
        ("SeparableConv2D", {"filters": 5, "kernel_size": [3, 3]}, [None, 8, 8, 4], 9 * 4 + 4 * 5),
        ("ConvLSTM2D", {"filters": 5, "kernel_size": [3, 3]}, [None, 2, 8, 8, 4], 9 * 5 * (5 + 4)),
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "value_dim": 4}, [None, 9, 5], 2 * (4 * 5 + 4)),
        ("TextVectorization", {"ngrams": 18}, [], 18),
        ("MeanIoU", {"num_classes": 30}, [], 900),
        ("PrecisionAtRecall", {"num_thresholds": 30}, [], 30),
        ("AUC", {"num_thresholds": 30}, [], 30),
        ("AUC", {"num_thresholds": 30, "multi_label": True, "num_labels": 5}, [], 150),
        ("GroupQueryAttention", {"num_query_heads": 2, "head_dim": 3}, [None, 9, 5], 2 * 3 * 5),
        ("BatchNormalization", {"axis": 1}, [None, 8, 4], 8),
        ("LayerNormalization", {"axis": [-2, -1]}, [None, 8, 4], 32),
        ("LayerNormalization", {"axis": 9}, [None, 8, 4], 1),
        ("PReLU", {"shared_axes": [1]}, [None, 8, 4], 4),
        ("PReLU", {"shared_axes": 2}, [None, 8, 4], 8),
        ("Flatten", {}, [None, 10**9], 0),
        ("Dense", None, [None, 3], 0),
    ],
)
def test_declared_is_worked_out_by_hand(class_name: str, config: object, shape: list[Any], weights: int) -> None:
    assert declared({"class_name": class_name, "config": config, "build_config": {"input_shape": shape}}) == weights


@pytest.mark.parametrize("model", ["plain", "branched", "wrapped"])
def test_no_honest_layer_declares_more_than_it_has(model: str, request: pytest.FixtureRequest) -> None:
    import keras

    loaded = keras.saving.load_model(request.getfixturevalue(model), compile=False)
    for layer in loaded._flatten_layers(include_self=False):  # the wrapped ones too
        if type(layer).__name__ in COUNTS:
            node = keras.saving.serialize_keras_object(layer)
            assert 0 < declared(node) <= layer.count_params()


def test_layers_that_come_before_their_inputs_are_refused_where_there_are_many() -> None:
    def tensor(name: str) -> dict[str, Any]:
        return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [name, 0, 0]}}

    def identity(number: int) -> dict[str, Any]:
        calls = [{"args": [tensor(f"layer{number - 1}")], "kwargs": {}}] if number else []
        return {"class_name": "Identity", "name": f"layer{number}", "inbound_nodes": calls}

    layers = [identity(number) for number in range(1100)]
    refuse_disordered({"config": {"name": "deep", "layers": layers}})
    with pytest.raises(UnsafeModelError, match=r"^1,099 calls .* before their input; .* Received: 1,100 layers in"):
        refuse_disordered({"config": {"name": "deep", "layers": layers[::-1]}})
    refuse_disordered({"config": {"name": "deep", "layers": layers[:500][::-1]}})  # that takes a few seconds


def test_models_that_use_each_other_again_and_again_are_refused(tmp_path: Path) -> None:
    import keras

    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(4)(image))
    for depth in (3, 14):
        while len(list(model._flatten_layers())) < 2 * depth:
            image = keras.Input((4,))
            model = keras.Model(image, model(model(image)))
        model.save(tmp_path / f"{depth}.keras")
    check(tmp_path / "3.keras")
    assert refusal(tmp_path / "14.keras").startswith("the configuration calls layers ")
