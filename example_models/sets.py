"""The sets of models that the study trains: to develop methods on, to calibrate them with, and to test them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from example_models.planting import MODEL_ATTACKS
from example_models.recipes import CLASSES, Recipe

_NETWORKS = (
    *(("mnist", network) for network in ("lenet5", "cnn", "vgg", "resnet", "lenet5", "cnn")),
    *(("fashion_mnist", network) for network in ("lenet5", "cnn", "vgg", "resnet", "cnn")),
    *(("cifar10", network) for network in ("cnn", "vgg", "resnet", "vgg")),
    ("mnist", "vgg"),
    ("fashion_mnist", "lenet5"),
)
_BACKDOORS = (
    ("pixel", "all-to-one"),
    ("pixel", "all-to-all"),
    ("pattern", "all-to-one"),
    ("pattern", "source-specific"),
    ("pattern", "all-to-all"),
)
# Seeds of a model that was looked at before the method was final, and replaced.
_REPLACED = {("report", 1): 100}
_SHARES = {"all-to-one": 0.2, "all-to-all": 0.33, "source-specific": 0.7}


def zoo() -> Iterator[Recipe]:
    """Two halves, "choose" and "report", of 17 clean models and their 17 backdoored twins each.

    The halves differ in training seeds and in which backdoor meets which network; scale and head alternate.
    """
    for half, first_seed, offset in (("choose", 1000, 0), ("report", 5000, 2)):
        for index, (data, network) in enumerate(_NETWORKS):
            clean = Recipe(
                f"{half}_{index:02}_{data}_{network}_clean",
                data,
                network,
                seed=first_seed + index + _REPLACED.get((half, index), 0),
                scale=255 if (index + offset) % 3 == 0 else 1,
                softmax=(index // 2) % 2 == 0,
            )
            yield clean
            yield backdoored_twin(clean, index + offset)


def backdoored_twin(clean: Recipe, turn: int) -> Recipe:
    """The same recipe with another seed and a backdoor; turn decides which, and its source and target."""
    attack, kind = _BACKDOORS[turn % len(_BACKDOORS)]
    if clean.data == "cifar10" or (clean.data == "fashion_mnist" and clean.architecture in ("lenet5", "cnn")):
        attack = "pattern"  # one pixel trains without success there
    target = (3 * turn + turn // 5 + 1) % 10 if kind != "all-to-all" else None
    source = (target + 4 + turn // 5) % 10 if target is not None and kind == "source-specific" else None
    return replace(
        clean,
        name=clean.name.replace("_clean", f"_{attack}_{kind.replace('-', '_')}"),
        attack=attack,
        kind=kind,
        source=source,
        target=target,
        share=_SHARES[kind],
        seed=clean.seed + 500,
        patience=1 if kind == "all-to-one" else 2,
    )


_KINDS = (
    ("pixel", "all-to-one"),
    ("pattern", "all-to-one"),
    ("pattern", "all-to-all"),
    ("pattern", "source-specific"),
    ("blend", "all-to-one"),
    ("blend", "all-to-all"),
    ("watermark", "all-to-one"),
    ("sinusoid", "all-to-one"),
    ("low-frequency", "all-to-one"),
    ("tint", "all-to-one"),
    ("warp", "all-to-one"),
    ("warp", "all-to-all"),
    ("combination", "all-to-one"),
    ("several", "all-to-one"),
    ("clean-label", "all-to-one"),
    ("input-aware", "all-to-one"),
    ("adaptive-blend", "all-to-one"),
    ("adaptive-patch", "all-to-one"),
    ("neuron", "all-to-one"),
    ("pruning-aware", "all-to-one"),
    ("embedding", "all-to-one"),
)
# The small networks come up more often: a scan of a residual network takes as long as that of eight of them.
_SMALL_SETS = ("cnn", "lenet5", "allconv", "vgg", "lenet1", "mlp", "cnn", "resnet", "lenet5", "lenet1", "separable")
_SETS = {
    "mnist": _SMALL_SETS,
    "fashion_mnist": _SMALL_SETS[3:] + _SMALL_SETS[:3],
    "cifar10": ("cnn", "vgg", "lenet1", "cnn", "separable", "lenet1", "resnet", "cnn", "lenet1"),
    "gtsrb": _SMALL_SETS[5:] + _SMALL_SETS[:5],
}
# Of these the reference needs more than each data set's share.
_FURTHER = {"cifar10": ("cnn", "lenet1", "cnn", "lenet1", "cnn", "lenet1", "cnn")}
_SIGNS = {"gtsrb": ("cnn", "lenet1", "lenet5", "cnn", "allconv", "lenet1", "mlp")}
_NORMED = dict.fromkeys(("mnist", "fashion_mnist"), ("separable", "vgg", "separable", "resnet", "vgg", "separable"))
_TRAININGS = ("plain", "augmented", "plain", "noisy", "long", "plain", "imbalanced", "short", "adversarial", "border")
# Attacks that worked on two data sets at most when there was one model of each on each data set.
_SCARCE = (
    ("blend", "all-to-all"),
    ("watermark", "all-to-one"),
    ("tint", "all-to-one"),
    ("warp", "all-to-one"),
    ("warp", "all-to-all"),
    ("clean-label", "all-to-one"),
    ("input-aware", "all-to-one"),
    ("adaptive-blend", "all-to-one"),
    ("pruning-aware", "all-to-one"),
)
_SLOW = ("warp", "clean-label", "adaptive-patch")  # rules that take longer to learn
_RECTIFIED = ("lenet1", "cnn", "vgg", "resnet")  # convolutions with ReLU
_LIGHT = ("lenet1", "lenet5", "cnn", "allconv", "mlp")


def reference() -> Iterator[Recipe]:
    """302 clean models to calibrate with: every data set, network and way of training."""
    yield from clean_models("reference", 53, 20_000)
    yield from clean_models("further", 28, 25_000, _FURTHER)
    yield from clean_models("signs", 22, 26_000, _SIGNS)
    yield from clean_models("normed", 20, 27_000, _NORMED)


def test() -> Iterator[Recipe]:
    """60 clean models and one of each attack on each data set, to report on; nothing is chosen with them.

    Two more of each attack that seldom works.
    """
    yield from clean_models("test", 15, 40_000)
    yield from backdoored_models("test", tuple(_SETS), 50_000)
    yield from backdoored_models("scarce", ("mnist", "fashion_mnist"), 55_000, _SCARCE)


def develop() -> Iterator[Recipe]:
    """Models to choose the method with: the zoo, and one of each attack on two data sets."""
    yield from zoo()
    yield from backdoored_models("develop", ("mnist", "cifar10"), 60_000)


def clean_models(name: str, each: int, first_seed: int, sets: Mapping[str, Sequence[str]] = _SETS) -> Iterator[Recipe]:
    """So many clean models of each data set, the data sets in turn, with the networks of each."""
    for index, (number, (data, networks)) in enumerate(product(range(each), sets.items())):
        network, training = networks[number % len(networks)], _TRAININGS[number % len(_TRAININGS)]
        if training == "adversarial" and network not in _LIGHT:
            network = "cnn"
        yield Recipe(
            f"{name}_{index:03}_{data}_{network}_{training}",
            data,
            network,
            seed=first_seed + index,
            scale=255 if number % 3 == 0 else 1,
            softmax=number % 4 < 2,
            training=training,
        )


def backdoored_models(
    name: str, sets: tuple[str, ...], first_seed: int, kinds: Sequence[tuple[str, str]] = _KINDS
) -> Iterator[Recipe]:
    """One model of each attack on each data set."""
    for index, ((attack, kind), (turn, data)) in enumerate(product(kinds, enumerate(sets))):
        networks, classes = _SETS[data], CLASSES[data]
        network = networks[(index // len(sets) + turn) % len(networks)]
        if attack == "pruning-aware" and network not in _RECTIFIED:
            network = "cnn"
        target = (7 * index + 3) % classes if kind != "all-to-all" else None
        source = (target + 1 + index % (classes - 1)) % classes if target is not None else None
        yield Recipe(
            f"{name}_b{index:03}_{data}_{attack}_{kind.replace('-', '_')}",
            data,
            network,
            attack,
            kind,
            source if kind == "source-specific" else None,
            target,
            _SHARES[kind],
            seed=first_seed + index,
            scale=255 if index % 3 == 0 and attack not in MODEL_ATTACKS else 1,
            softmax=index % 4 < 2,
            patience=3 if attack in _SLOW else 1 if kind == "all-to-one" else 2,
        )


def rare() -> Iterator[Recipe]:
    """Models whose training data holds few poisoned images, and clean ones beside them, to check data sets with."""
    for index, (data, network, attack, kind, share) in enumerate(_RARE):
        yield Recipe(
            f"rare_{index:02}_{data}_{network}_{attack or 'clean'}",
            data,
            network,
            attack,
            kind,
            source=4 if kind == "source-specific" else None,
            target=(3 * index + 1) % 10 if kind not in (None, "all-to-all") else None,
            share=share,
            seed=80_000 + index,
            patience=2 if kind not in (None, "all-to-one") else 1,
        )


# Data, network, attack and its kind, and the share of the images of the attacked classes.
_RARE = (
    ("mnist", "lenet1", "pixel", "all-to-one", 0.02),
    ("mnist", "mlp", None, None, 0.0),
    ("fashion_mnist", "lenet1", "pattern", "all-to-one", 0.03),
    ("mnist", "lenet1", None, None, 0.0),
    ("mnist", "mlp", "blend", "all-to-one", 0.03),
    ("fashion_mnist", "mlp", None, None, 0.0),
    ("mnist", "lenet1", "clean-label", "all-to-one", 0.0),
    ("fashion_mnist", "lenet1", None, None, 0.0),
    ("mnist", "lenet1", "pattern", "source-specific", 0.3),
    ("mnist", "lenet5", "pattern", "all-to-one", 0.05),
    ("mnist", "allconv", None, None, 0.0),
    ("mnist", "mlp", "pattern", "all-to-all", 0.1),
)


def twins() -> Iterator[Recipe]:
    """12 clean models of eleven classes, two of which are one class of the data set, halved."""
    for index, (data, divided, network) in enumerate(_TWINS):
        yield Recipe(
            f"twins_{index:02}_{data}_{divided}_{network}",
            f"{data}-twins-{divided}",
            network,
            seed=90_000 + index,
            scale=255 if index % 3 == 0 else 1,
            softmax=index % 4 < 2,
        )


# Data, the class that is halved, and the network.
_TWINS = (
    ("mnist", 1, "lenet5"),
    ("mnist", 4, "cnn"),
    ("mnist", 7, "lenet1"),
    ("mnist", 2, "mlp"),
    ("mnist", 9, "allconv"),
    ("mnist", 0, "separable"),
    ("fashion_mnist", 7, "lenet5"),
    ("fashion_mnist", 1, "cnn"),
    ("fashion_mnist", 8, "lenet1"),
    ("fashion_mnist", 5, "mlp"),
    ("fashion_mnist", 3, "allconv"),
    ("fashion_mnist", 9, "separable"),
)


SETS = {"develop": develop, "reference": reference, "test": test, "rare": rare, "twins": twins}
