"""How many weights a configuration declares, so that a small file cannot ask for a large memory.

Keras allocates a layer's weights from its configuration before it looks at the stored ones: an 11.7 KB file that holds
``Dense(units=400_000_000)`` asks for 12.8 GB. Each count here is at most the true one, so an honest file stays below
what it stores; the factor in ``ALLOWANCE`` is for layers that several nested models share. It bounds what a layer
states about itself. An .h5 file states no input shapes that Keras keeps to: see ``rehearsal``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

from pytest_backdoor.errors import UnsafeModelError
from pytest_backdoor.loading.config_walk import HOLDS, REBUILD, Node, nodes

ALLOWANCE = 10  # times the stored weights
FLOOR = 1_000_000  # weights, 4 MB: never worth refusing
CALLS = 10_000  # of layers; the largest networks have about a thousand layers
PASSES = 1_000_000  # calls that come before their input, times layers: half a minute
LARGEST = 10**18  # above this a size is only "too large"; keeps the arithmetic and the message short
CURVES = (
    ("Precision", "Recall"),
    ("Recall", "Precision"),
    ("Sensitivity", "Specificity"),
    ("Specificity", "Sensitivity"),
)
TENSOR = "__keras_tensor__"  # how Keras writes an input that another layer gives

Shape = list[Any]


def refuse_oversized(config: object, stored: int) -> None:
    """Raises UnsafeModelError where the configuration declares far more weights than the file stores."""
    sizes = [(declared(node), layer) for node, layer in nodes(config)]
    total = sum(size for size, _ in sizes)
    if total > ALLOWANCE * stored + FLOOR:
        size, layer = max(sizes)
        raise UnsafeModelError(
            f"the configuration declares at least {total:,} weights, of which {layer} has {size:,}, but the file "
            f"stores {stored:,}; loading it could exhaust the memory. Save the model again from its source or, if you "
            "trust the file, load it yourself and give the model object to assert_no_backdoor."
        )


def refuse_unrolled(config: object) -> None:
    """Raises UnsafeModelError where models that are used several times within each other make far too many calls."""
    calls = _calls(config)
    if calls > CALLS:
        raise UnsafeModelError(
            f"the configuration calls layers {min(calls, LARGEST):,} times, because models in it use each other again "
            f"and again; loading it could take for ever. {REBUILD}"
        )


def refuse_disordered(config: object) -> None:
    """Raises UnsafeModelError where many layers come before their inputs: Keras reads all of them again for each."""
    for node, layer in nodes(config):
        layers = node.get("layers")
        if not isinstance(layers, list):
            continue
        places = {str(each.get("name")): place for place, each in enumerate(layers) if isinstance(each, dict)}
        early = sum(places.get(name, -1) > place for place, each in enumerate(layers) for name in _inputs(each))
        if early * len(layers) > PASSES:
            raise UnsafeModelError(
                f"{early:,} calls in {layer} come before their input; loading it could take for ever. Received: "
                f"{len(layers):,} layers in another order than Keras writes. {REBUILD}"
            )


def _inputs(layer: object) -> Iterator[str]:
    """The names of the layers whose output each call of a layer takes."""
    calls = layer.get("inbound_nodes") if isinstance(layer, dict) else None
    for node, _ in nodes(calls):
        history = node.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])


def _calls(node: object) -> int:
    """How many layer calls one use of a layer comes to."""
    config = node.get("config") if isinstance(node, dict) else None
    inner = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(inner, list):
        return 1
    return sum(max(1, _length(each)) * _calls(each) for each in inner)


def _length(layer: object) -> int:
    calls = layer.get("inbound_nodes") if isinstance(layer, dict) else None
    return len(calls) if isinstance(calls, list) else 1


def refuse_unshaped(config: object) -> None:
    """Raises UnsafeModelError for a layer with weights that does not state the input shape it was built for."""
    for node, layer in nodes(config):
        if node.get("class_name") in SHAPED and not _shapes(node.get("build_config")):
            raise UnsafeModelError(
                f"{layer} does not state the input shape it was built for, so its memory cannot be bounded. Received: "
                f"a {node['class_name']} without a build_config. Build the model on its input and save it again, or "
                f"{REBUILD[0].lower()}{REBUILD[1:]}"
            )


def refuse_computed(config: object) -> None:
    """Raises UnsafeModelError for a call without a tensor as input: Keras would compute it while loading."""
    for node, layer in nodes(config):
        calls = node.get("inbound_nodes")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict) and not any(child.get("class_name") == TENSOR for child, _ in nodes(call)):
                raise UnsafeModelError(
                    f"{layer} is called without an input of the model, so it would be computed while loading, in "
                    f"memory that cannot be bounded. Received: a {node.get('class_name')} of constants. {REBUILD}"
                )


def declared(node: Node) -> int:
    """The weights that a layer declares, at least; 0 for anything else."""
    count = COUNTS.get(str(node.get("class_name")))
    config = node.get("config")
    if count is None or not isinstance(config, dict):
        return 0
    shapes = _shapes(node.get("build_config")) or _shapes(node.get("inbound_nodes"))
    return min(LARGEST, max(count(config, shape) for shape in shapes or [[]]))


def _shapes(node: object) -> list[Shape]:
    """The non-empty shapes in a build_config or in inbound_nodes."""
    return [shape for shape in _lists(node) if shape and all(size is None or _is_size(size) for size in shape)]


def _lists(node: object) -> Iterator[Shape]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            yield node
        children: Iterable[object] = node if isinstance(node, list) else node.values() if isinstance(node, dict) else ()
        waiting += [child for child in children if isinstance(child, HOLDS)]


def _is_size(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(value: object) -> int:
    """The product of a size or of a list of sizes; anything else counts as 1."""
    sizes = [int(size) for size in (value if isinstance(value, list) else [value]) if _is_size(size) and size > 0]
    product = 1
    for size in sizes:
        product = min(LARGEST, product * size)
    return product


def _channels(config: Node, shape: Shape) -> int:
    axis = 1 if config.get("data_format") == "channels_first" and len(shape) > 1 else -1
    return _size(shape[axis:][:1])


def _adapted(config: Node, rows: int, columns: int) -> int:
    """A kernel of rows and columns, and the two thin ones of its low-rank adaptation (LoRA), if it has that."""
    rank = _size(config["lora_rank"]) if config.get("lora_rank") else 0
    return rows * columns + rank * (rows + columns)


def _dense(config: Node, shape: Shape) -> int:
    return _adapted(config, _size(shape[-1:]), _size(config.get("units")))


def _einsum_dense(config: Node, shape: Shape) -> int:
    """The kernel has the lengths of input and output: ``abc,cde->abde`` has c times d times e weights."""
    inputs, _, rest = str(config.get("equation")).replace(" ", "").partition(",")
    kernel, _, outputs = rest.partition("->")
    output = config.get("output_shape")
    made = output if isinstance(output, list) else [output]
    lengths = dict(zip(outputs[::-1], made[::-1], strict=False)) | dict(zip(inputs[::-1], shape[::-1], strict=False))
    axes = [lengths.get(letter) for letter in kernel]
    return _adapted(config, _size(axes[:-1]), _size(axes[-1:]))


def _embedding(config: Node, shape: Shape) -> int:
    return _adapted(config, _size(config.get("input_dim")), _size(config.get("output_dim")))


def _product(*keys: str) -> Callable[[Node, Shape], int]:
    """Counts the product of these sizes, whatever the input's shape."""
    return lambda config, _: _size([config.get(key) for key in keys])


def _recurrent(config: Node, shape: Shape) -> int:
    batch = _size(shape[:1]) if config.get("stateful") else 0
    units = _size(config.get("units"))
    return units * (units + _size(shape[-1:]) + batch)


def _convolution(config: Node, shape: Shape) -> int:
    inputs = max(1, _channels(config, shape) // _size(config.get("groups")))
    return _adapted(config, _size(config.get("kernel_size")) * inputs, _size(config.get("filters")))


def _depthwise(config: Node, shape: Shape) -> int:
    return _size(config.get("kernel_size")) * _channels(config, shape) * _size(config.get("depth_multiplier"))


def _separable(config: Node, shape: Shape) -> int:
    pointwise = _channels(config, shape) * _size(config.get("depth_multiplier")) * _size(config.get("filters"))
    return _depthwise(config, shape) + pointwise


def _convolution_lstm(config: Node, shape: Shape) -> int:
    filters = _size(config.get("filters"))
    return _size(config.get("kernel_size")) * filters * (filters + _channels(config, shape))


def _attention(config: Node, shape: Shape) -> int:
    heads, outputs = _size(config.get("num_heads")), _size(config.get("output_shape"))
    keys, values = _size(config.get("key_dim")), _size(config.get("value_dim"))
    return heads * (max(keys, values) * _size(shape[-1:]) + values * outputs)


def _grouped_attention(config: Node, shape: Shape) -> int:
    return _size(config.get("num_query_heads")) * _size(config.get("head_dim")) * _size(shape[-1:])


def _normalization(config: Node, shape: Shape) -> int:
    axis = config.get("axis", -1)
    axes = [a for a in (axis if isinstance(axis, list) else [axis]) if isinstance(a, int) and -len(shape) <= a]
    return _size([shape[a] for a in axes if a < len(shape)])


def _slopes(config: Node, shape: Shape) -> int:
    shared = config.get("shared_axes") or []
    shared_axes = shared if isinstance(shared, list) else [shared]
    return _size([size for axis, size in enumerate(shape) if axis > 0 and axis not in shared_axes])


UNSHAPED: dict[str, Callable[[Node, Shape], int]] = {  # what a configuration says without an input shape
    **dict.fromkeys(("Embedding", "ReversibleEmbedding"), _embedding),
    "LayerScale": _product("projection_dim"),
    "STFTSpectrogram": _product("frame_length", "fft_length"),
    "MelSpectrogram": _product("num_mel_bins", "fft_length"),  # a matrix that no file stores; honest ones are small
    "TextVectorization": _product("ngrams"),  # a list as long
    # Metrics of a model in the model that was compiled, which no file stores either.
    **dict.fromkeys(("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"), _product("num_classes", "num_classes")),
    **dict.fromkeys((f"{a}At{b}" for a, b in CURVES), _product("num_thresholds")),
    "AUC": _product("num_thresholds", "num_labels"),
}
COUNTS: dict[str, Callable[[Node, Shape], int]] = {
    **UNSHAPED,
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "AdditiveAttention": lambda config, shape: _size(shape[-1:]),
    "MultiHeadAttention": _attention,
    "GroupQueryAttention": _grouped_attention,
    "PReLU": _slopes,
    **dict.fromkeys(("LSTM", "LSTMCell", "GRU", "GRUCell", "SimpleRNN", "SimpleRNNCell"), _recurrent),
    **{
        f"{conv}{n}D{kind}": _convolution
        for conv in ("Conv", "Convolution")
        for n in "123"
        for kind in ("", "Transpose")
    },
    **{f"DepthwiseConv{n}D": _depthwise for n in "12"},
    **{f"Separable{conv}{n}D": _separable for conv in ("Conv", "Convolution") for n in "12"},
    **{f"ConvLSTM{n}D": _convolution_lstm for n in "123"},
    **{f"{kind}Normalization": _normalization for kind in ("Batch", "Group", "Layer", "RMS", "")},
}
SHAPED = COUNTS.keys() - UNSHAPED.keys()
