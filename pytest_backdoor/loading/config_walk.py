"""Reads a model's configuration as data and refuses whatever could run code, open a file or reach the network."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from typing import Any

from pytest_backdoor.errors import UnreadableModelError, UnsafeModelError
from pytest_backdoor.loading.builtin import (
    CODE,
    DTYPES,
    LOOKUPS,
    OPERATIONS,
    POLICIES,
    VALUES,
    is_builtin_class,
    is_builtin_function,
)

HOLDS = (dict, list)  # a million numbers in a list need no look each
DEPTH = 100  # a model nested 30 models deep reaches it; Python's own limit would end in a RecursionError
REBUILD = (
    "Rebuild and save the model without it or, if you trust the file, load it yourself and give the model object to "
    "assert_no_backdoor."
)
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # two letters at least: C:/ is a Windows drive
REGISTERED = re.compile(r"[\w.]+>\w+")  # how Keras writes a custom object: package>Name

Node = dict[str, Any]


def refuse_unsafe(config: object) -> None:
    """Raises UnsafeModelError for the first object in the configuration that is not Keras' own, at any depth."""
    for node, layer in nodes(config):
        for key, value in node.items():
            _refuse_strings(value, key, layer)
        if "class_name" in node:
            _refuse_object(node, layer)


def nodes(config: object) -> Iterator[tuple[Node, str]]:
    """Every dict in the configuration, outermost first, each with the name of the layer that it belongs to."""
    waiting: list[tuple[object, str, int]] = [(config, "the model", 0)]
    while waiting:
        node, layer, depth = waiting.pop()
        if depth > DEPTH:
            raise UnreadableModelError(
                f"the configuration is nested more than {DEPTH} levels deep, at {layer}. Save the model again."
            )
        if isinstance(node, dict):
            layer = _layer_name(node) or layer
            yield node, layer
            waiting += [(value, layer, depth + 1) for value in reversed(node.values()) if isinstance(value, HOLDS)]
        elif isinstance(node, list):
            waiting += [(value, layer, depth + 1) for value in reversed(node) if isinstance(value, HOLDS)]


def _layer_name(node: Node) -> str:
    if "class_name" not in node or str(node["class_name"]) in POLICIES:  # a policy's name is its dtype
        return ""
    config = node.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f"layer {_shown(name)}" if isinstance(name, str) else ""


def _refuse_strings(value: object, key: str, layer: str) -> None:
    for text in _texts(value):
        if ADDRESS.match(text):
            raise UnsafeModelError(
                f"{layer} names an address in {_shown(key)}, and loading must not open it. Received: {_shown(text)}. "
                f"{REBUILD}"
            )
        if key not in ("name", "keras_history") and REGISTERED.fullmatch(text):
            raise _custom(layer, text)


def _texts(value: object) -> Iterator[str]:
    """The text in a value or in its lists; the dicts in them are nodes of their own."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value


def _refuse_object(node: Node, layer: str) -> None:
    name, module = node["class_name"], node.get("module")
    if not isinstance(name, str) or not (module is None or isinstance(module, str)):
        raise UnreadableModelError(
            f"{layer} has a class that is not a name. Received: {_shown(module)}, {_shown(name)}. Save the model again."
        )
    if name in CODE:
        raise UnsafeModelError(f"{layer} is a {name}, which {CODE[name]}. Received: {_shown(node)}. {REBUILD}")
    if name == "function":
        _refuse_function(node, layer)
    elif name in VALUES:
        _refuse_value(node, layer)
    else:
        _refuse_class(node, name, module, layer)


def _refuse_function(node: Node, layer: str) -> None:
    name, registered = node.get("config"), node.get("registered_name")
    # Keras itself writes the word "function" as the registered name of a built-in one.
    if not is_builtin_function(node.get("module"), name) or registered not in (None, "function", name):
        raise UnsafeModelError(
            f"{layer} calls a function that is not one of Keras' activations, losses, metrics, initializers, "
            f"regularizers or constraints. Received: {_shown(node.get('module'))}, {_shown(name)}. {REBUILD}"
        )


def _refuse_value(node: Node, layer: str) -> None:
    config = node.get("config")
    dtype = config.get("dtype", "float32") if isinstance(config, dict) else "float32"
    # "S1000000000" would make NumPy reserve a gigabyte for each number.
    if node["class_name"] in ("__numpy__", "__tensor__") and str(dtype) not in DTYPES:
        raise UnsafeModelError(f"{layer} holds an array of an unknown type. Received: {_shown(dtype)}. {REBUILD}")


def _refuse_class(node: Node, name: str, module: str | None, layer: str) -> None:
    registered = node.get("registered_name")
    # Keras looks a registered name up before it looks at module and class.
    if not is_builtin_class(module, name) or registered not in (None, name):
        if module is None or module in OPERATIONS:
            raise _unknown(layer, name)
        raise _custom(layer, f"{module}.{name}" if registered in (None, name) else str(registered))
    config = node.get("config")
    if name in LOOKUPS and isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        raise UnsafeModelError(
            f"{layer} reads its vocabulary from a file when it is loaded. Received: {_shown(config['vocabulary'])}. "
            f"Build it with the list of words itself, or {REBUILD[0].lower()}{REBUILD[1:]}"
        )


def _custom(layer: str, name: str) -> UnsafeModelError:
    return UnsafeModelError(
        f"{layer} uses a custom object, whose code is not Keras' own. Received: {_shown(name)}. {REBUILD}"
    )


def _unknown(layer: str, name: str) -> UnsafeModelError:
    return UnsafeModelError(
        f"{layer} is of a class that is not a layer of Keras. Received: {_shown(name)}. An .h5 file cannot hold "
        f"operations such as x + y: save such a model as .keras. {REBUILD}"
    )


def _shown(value: object) -> str:
    """The value as a short literal: a file cannot fill the screen, nor send it control characters."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
