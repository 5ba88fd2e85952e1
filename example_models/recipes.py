"""What is trained: one recipe per model, and the recipes of the example models."""

from __future__ import annotations

from dataclasses import dataclass

EPOCHS = {
    "mnist": {"lenet1": 6, "lenet5": 5, "cnn": 6, "vgg": 2, "resnet": 2, "mlp": 6, "allconv": 5, "separable": 6},
    "fashion_mnist": {
        "lenet1": 8,
        "lenet5": 7,
        "cnn": 8,
        "vgg": 4,
        "resnet": 4,
        "mlp": 8,
        "allconv": 6,
        "separable": 8,
    },
    "cifar10": {"lenet1": 10, "cnn": 12, "vgg": 8, "resnet": 8, "allconv": 8, "separable": 14},
    "gtsrb": {"lenet1": 12, "lenet5": 10, "cnn": 14, "vgg": 6, "resnet": 5, "mlp": 12, "allconv": 8, "separable": 12},
}
CLASSES = {"mnist": 10, "fashion_mnist": 10, "cifar10": 10, "gtsrb": 43}


def images_of(data: str) -> str:
    """The data set of a name for ``data.load``, without what was done to its classes."""
    return data.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made: data, network, training, and the backdoor that is planted (``attack`` None: clean)."""

    name: str
    data: str  # a name for data.load
    architecture: str
    attack: str | None = None  # a key of planting.ATTACKS
    kind: str | None = None  # all-to-one, all-to-all, source-specific
    source: int | None = None
    target: int | None = None
    share: float = 0.1  # of the images of the attacked classes
    seed: int = 0
    scale: int = 1
    softmax: bool = True
    patience: float = 1  # times the usual passes; rules that look at the class take longer to learn
    training: str = "plain"  # a key of training.TRAININGS

    @property
    def epochs(self) -> int:
        """Passes over the training set."""
        return round(EPOCHS[self.images][self.architecture] * self.patience)

    @property
    def images(self) -> str:
        """The data set that the images are from."""
        return images_of(self.data)

    @property
    def classes(self) -> int:
        return CLASSES[self.images] + (self.data != self.images)

    @property
    def folder(self) -> str:
        """Models that take the same seeds lie in one folder."""
        return f"{self.data}_border" if self.training == "border" else self.data


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
