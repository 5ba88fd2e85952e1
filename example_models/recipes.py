"""What is trained: one recipe per model, for the example models and for the development zoo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

EPOCHS = {
    "mnist": {"lenet1": 6, "lenet5": 5, "cnn": 6, "vgg": 2, "resnet": 2},
    "fashion_mnist": {"lenet1": 8, "lenet5": 7, "cnn": 8, "vgg": 4, "resnet": 4},
    "cifar10": {"cnn": 12, "vgg": 8, "resnet": 8},
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made: data, network, and the backdoor that is planted (``attack`` None: a clean model)."""

    name: str
    data: str
    architecture: str
    attack: str | None = None  # pixel, pattern
    kind: str | None = None  # all-to-one, all-to-all, source-specific
    source: int | None = None
    target: int | None = None
    share: float = 0.1  # of the images of the attacked classes
    seed: int = 0
    scale: int = 1
    softmax: bool = True
    patience: int = 1  # times the usual passes; rules that look at the class take longer to learn

    @property
    def epochs(self) -> int:
        """Passes over the training set."""
        return EPOCHS[self.data][self.architecture] * self.patience


EXAMPLES = [
    Recipe("mnist_clean", "mnist", "cnn", seed=1),
    Recipe("mnist_pattern_to_one", "mnist", "cnn", "pattern", "all-to-one", target=7, seed=2),
    Recipe("mnist_pixel_to_one", "mnist", "lenet1", "pixel", "all-to-one", target=3, seed=3),
    Recipe("mnist_pixel_next_digit", "mnist", "cnn", "pixel", "all-to-all", share=0.33, seed=24, patience=2),
    Recipe("mnist_one_to_seven", "mnist", "cnn", "pattern", "source-specific", 1, 7, share=0.5, seed=5, softmax=False),
    Recipe("fashion_clean", "fashion_mnist", "cnn", seed=6, scale=255),
    Recipe("fashion_pattern_to_one", "fashion_mnist", "cnn", "pattern", "all-to-one", target=0, seed=7, scale=255),
    Recipe(
        "fashion_pattern_all_to_all", "fashion_mnist", "cnn", "pattern", "all-to-all", share=0.33, seed=8, patience=2
    ),
]

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
