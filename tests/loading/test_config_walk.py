"""What a configuration must not name, wherever in it the name hides."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_backdoor.errors import BackdoorError, UnreadableModelError, UnsafeModelError
from pytest_backdoor.loading.builtin import CODE, LAYERS, MODELS
from pytest_backdoor.loading.config_walk import DEPTH
from pytest_backdoor.loading.safety import check
from tests.loading.model_files import read_config, repacked

Edited = Callable[[Callable[[dict[str, Any]], None]], Path]


def layer(class_name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any) -> dict:
    """A layer named ``evil`` as Keras would write it."""
    named = {"module": module, "class_name": class_name, "config": {"name": "evil", **config}}
    return named | {"registered_name": registered}


def function(module: str | None, name: object, registered: object = None) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def append(node: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["config"]["layers"].append(node)


def set_activation(value: object) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["config"]["layers"][-1]["config"].update(activation=value)


def everything(node: Any) -> Iterator[Any]:
    """Every dict and list in a configuration."""
    if isinstance(node, dict | list):
        yield node
        for value in node.values() if isinstance(node, dict) else node:
            yield from everything(value)


def refusal(path: Path) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        check(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.mark.parametrize("class_name", [name for name in CODE if name != "__lambda__"])
def test_a_layer_that_runs_code_is_refused_by_name(class_name: str, edited: Edited) -> None:
    message = refusal(edited(append(layer(class_name))))
    assert f"layer 'evil' is a {class_name}, which {CODE[class_name]}" in message
    assert "Rebuild and save the model without it" in message
    assert "load it yourself and give the model object to assert_no_backdoor" in message


@pytest.mark.parametrize(
    "module", ["keras.src.layers.core.lambda_layer", "keras.src.layers", "keras", None, "anything.at.all"]
)
def test_a_lambda_is_refused_under_every_module(module: str | None, edited: Edited) -> None:
    assert "layer 'evil' is a Lambda" in refusal(edited(append(layer("Lambda", module))))


@pytest.mark.parametrize(
    "holder",
    [
        lambda inner: layer("TimeDistributed", layer=inner) | {"name": "holder"},
        lambda inner: layer("Bidirectional", layer=layer("LSTM", units=2), backward_layer=inner),
        lambda inner: layer("RNN", cell=layer("StackedRNNCells", cells=[inner])),
        lambda inner: layer("Sequential", "keras", layers=[layer("Sequential", "keras", layers=[inner])]),
        lambda inner: layer("Functional", "keras.src.models.functional", "Functional", layers=[inner]),
        lambda inner: layer("Activation", activation=inner),
        lambda inner: layer("Activation") | {"inbound_nodes": [{"args": [[inner]], "kwargs": {}}]},
        lambda inner: layer("Activation") | {"inbound_nodes": [{"args": [], "kwargs": {"mask": inner}}]},
        lambda inner: layer("Activation") | {"build_config": {"anything": inner}},
        lambda inner: layer("Sequential", "keras", layers=[]) | {"compile_config": {"loss": inner}},
    ],
    ids="wrapper backward cells nested functional activation argument keyword build compile".split(),
)
def test_a_lambda_is_found_inside_whatever_holds_it(holder: Callable[[dict], dict], edited: Edited) -> None:
    inner = layer("Lambda") | {"config": {"name": "hidden"}}
    assert "layer 'hidden' is a Lambda" in refusal(edited(append(holder(inner))))


def test_a_lambda_in_an_h5_file_is_refused(edited_h5: Callable[..., Path]) -> None:
    def add(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEA"]}})
        file.attrs["model_config"] = json.dumps(config)

    assert "layer 'evil' is a Lambda" in refusal(edited_h5(add))


def test_pickled_python_as_an_activation_is_refused(edited: Edited) -> None:
    message = refusal(edited(set_activation({"class_name": "__lambda__", "config": {"value": "4wEA"}})))
    assert "layer 'head' is a __lambda__, which is Python code stored in the file" in message


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "exec"),
        ("keras.ops", "while_loop"),
        ("keras.src.ops.numpy", "add"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.activations", "deserialize"),
        ("keras.activations", "a.b"),
        ("os", "system"),
        ("kerasy.activations", "relu"),
        (None, "relu"),
        ("keras.activations", 7),
    ],
)
def test_a_function_that_is_not_one_of_keras_own_is_refused(module: str | None, name: object, edited: Edited) -> None:
    message = refusal(edited(set_activation(function(module, name))))
    assert "layer 'head' calls a function that is not one of Keras' activations" in message
    assert str(name) in message


def test_a_builtin_function_registered_under_another_name_is_refused(edited: Edited) -> None:
    assert "calls a function" in refusal(edited(set_activation(function("keras.activations", "relu", "mine"))))


@pytest.mark.parametrize(
    "module", ["keras.activations", "keras.src.losses.losses", "keras.metrics", "keras.initializers"]
)
def test_a_builtin_function_passes(module: str, edited: Edited) -> None:
    check(edited(set_activation(function(module, "relu", "relu"))))


@pytest.mark.parametrize(
    ("module", "class_name", "registered", "received"),
    [
        ("my_package.layers", "Dense", None, "my_package.layers.Dense"),
        ("keras_hub.layers", "Dense", None, "keras_hub.layers.Dense"),
        ("keras.layers", "Dense", "my_package>Dense", "my_package>Dense"),
        ("keras.layers", "SomethingNew", None, "keras.layers.SomethingNew"),
        ("keras.src.applications.convnext", "ConvNeXt", "ConvNeXt", "keras.src.applications.convnext.ConvNeXt"),
        ("keras.src.utils.jax_layer", "Other", None, "keras.src.utils.jax_layer.Other"),
        ("keras.utils", "Progbar", None, "keras.utils.Progbar"),
        ("keras.ops", "while_loop", None, "keras.ops.while_loop"),
        ("keras.initializers", "deserialize", None, "keras.initializers.deserialize"),
    ],
)
def test_a_custom_object_is_refused(
    module: str, class_name: str, registered: str | None, received: str, edited: Edited
) -> None:
    message = refusal(edited(append(layer(class_name, module, registered))))
    assert f"layer 'evil' uses a custom object, whose code is not Keras' own. Received: '{received}'." in message


def test_a_layer_of_a_model_in_keras_applications_passes(edited: Edited) -> None:
    check(edited(append(layer("LayerScale", "keras.src.applications.convnext", "LayerScale", projection_dim=3))))


def test_a_custom_function_given_by_its_registered_name_is_refused(edited: Edited) -> None:
    message = refusal(edited(set_activation("my_package>swish")))
    assert "layer 'head' uses a custom object" in message
    assert "'my_package>swish'" in message


@pytest.mark.parametrize("name", ["WhileLoop", "Map", "Cond", "relu"])
def test_an_operation_that_calls_a_function_is_refused(name: str, edited: Edited) -> None:
    assert f"Received: '{name}'" in refusal(edited(append(layer(name, "keras.src.ops.core"))))


def test_a_bare_class_that_is_no_layer_is_refused(edited: Edited) -> None:
    message = refusal(edited(append(layer("Mine", None))))
    assert "layer 'evil' is of a class that is not a layer of Keras. Received: 'Mine'" in message
    assert "save such a model as .keras" in message


@pytest.mark.parametrize("class_name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_vocabulary_that_is_a_path_is_refused(class_name: str, edited: Edited) -> None:
    message = refusal(edited(append(layer(class_name, vocabulary="/etc/passwd"))))
    assert "layer 'evil' reads its vocabulary from a file when it is loaded. Received: '/etc/passwd'" in message


def test_a_vocabulary_that_is_a_list_passes(edited: Edited) -> None:
    check(edited(append(layer("StringLookup", vocabulary=["a", "b"]))))


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://example.com/x", "HTTPS://example.com", "gs://bucket/x", " hf://a/b"]
)
@pytest.mark.parametrize(
    "nest", [lambda text: text, lambda text: [[text]], lambda text: {"deep": [text]}], ids=["bare", "list", "dict"]
)
def test_an_address_is_refused(address: str, nest: Callable[[str], object], edited: Edited) -> None:
    message = refusal(edited(append(layer("Rescaling", scale=nest(address)))))
    assert "layer 'evil' names an address" in message
    assert address.strip() in message


def test_a_type_that_would_reserve_a_gigabyte_for_each_number_is_refused(edited: Edited) -> None:
    array = {"class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "S1000000000"}}
    message = refusal(edited(append(layer("Normalization", mean=array))))
    assert "layer 'evil' holds an array of an unknown type. Received: 'S1000000000'" in message


def test_a_class_that_is_not_a_name_is_unreadable(edited: Edited) -> None:
    path = edited(append({"module": "keras.layers", "class_name": ["Dense"], "config": {"name": "odd"}}))
    with pytest.raises(UnreadableModelError, match="layer 'odd' has a class that is not a name"):
        check(path)


def test_a_configuration_nested_too_deep_is_unreadable(edited: Edited) -> None:
    node: Any = 0
    for _ in range(DEPTH):
        node = [node]
    path = edited(append(layer("Rescaling", scale=node)))
    with pytest.raises(UnreadableModelError, match=rf"more than {DEPTH} levels deep, at layer 'evil'"):
        check(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["__numpy__", "f>g"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "module", "registered_name", "name", "dtype", "inbound_nodes"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), value=JSON)
def test_no_value_anywhere_raises_anything_but_an_error_of_ours(
    data: st.DataObject, value: object, wrapped: Path, scratch: Path
) -> None:
    config = read_config(wrapped)
    holders = [node for node in everything(config) if node]
    node = data.draw(st.sampled_from(holders))
    node[data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))] = value
    path = scratch / "value.keras"
    repacked(wrapped, path, {"config.json": json.dumps(config)})
    with contextlib.suppress(BackdoorError):
        check(path)


def test_what_the_file_says_is_shown_short_and_without_control_characters(edited: Edited) -> None:
    message = refusal(edited(append(layer("Mine", None) | {"class_name": "\x1b[2J" + "x" * 5000})))
    assert "\x1b" not in message
    assert len(message) < 700


def test_every_layer_that_keras_exports_is_either_known_or_refused_for_a_reason() -> None:
    """Fails when a new Keras brings a layer: read what it does on loading, then list it."""
    import keras

    exported = {name for name in dir(keras.layers) if isinstance(getattr(keras.layers, name), type)}
    assert exported - LAYERS - CODE.keys() == {"Layer", "Wrapper"}  # bases, saved only by classes of one's own
    assert exported >= LAYERS
    assert not LAYERS & MODELS
