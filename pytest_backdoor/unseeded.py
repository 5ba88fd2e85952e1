"""A contract without clean images: the subject in a scaling that had to be assumed, and synthetic seeds in two halves.

What the other rooms do with it is the same as with real seeds. It finds less: docs/detection.md says how much.
"""

from __future__ import annotations

import numpy as np

from pytest_backdoor.contract import Contract, Sample, halves
from pytest_backdoor.errors import ContractError, OutOfScopeError
from pytest_backdoor.results import SeedsUsed
from pytest_backdoor.scalings import Scaling, up_to
from pytest_backdoor.search import synthetic
from pytest_backdoor.subject import Classifier, Shape

WHITES = (1.0, 255.0)  # what white is in a model that does not say, the likelier first
GIVE_SEEDS = (
    "Give clean images: beside the model as <model>.seeds.npz or seeds.npz, with x (images) and optionally y "
    "(labels), or with --backdoor-seeds."
)
NOTHING_FOUND = (
    "no seeds, and the search on synthetic ones found nothing, which does not clear the model: it misses much that a "
    f"search on clean images finds. {GIVE_SEEDS}"
)

LEFT_OUT = {
    "pair": "natural pairs of classes differ by too little in synthetic seeds",
    "fuzzing": "how easily synthetic seeds flip says little about images",
}


def synthesise(model: Classifier, settings: synthetic.Settings, rng: np.random.Generator) -> tuple[Contract, int]:
    """The contract of a model with seeds drawn from itself, and the image-gradients that they cost.

    White is what the settings say, else the model's first layers, else the first of 1 and 255 in which every class
    has seeds. Raises OutOfScopeError where the model has no gradients or takes images of no fixed size,
    and ContractError where it knows one class only.
    """
    shape = image_shape(model)
    cost = 0
    for scaling in scalings(model, settings, shape[2]):
        subject = model.subject(scaling, shape)
        seeds, spent = synthetic.seeds(subject, settings, rng)
        cost += spent
        if len(np.unique(seeds.labels)) == model.num_classes:
            break
    if len(np.unique(seeds.labels)) == 1:
        raise ContractError(
            f"the model gives every image that was drawn the class {seeds.labels[0]}. It is constant, or takes another "
            f"scale of values. {GIVE_SEEDS}"
        )
    search, held_out = (Sample(seeds.images[half], seeds.labels[half]) for half in halves(seeds.labels, rng))
    used = SeedsUsed(len(seeds), scaling.name, None, len(search), len(held_out))
    return Contract(subject, search, held_out, used), cost


def image_shape(model: Classifier) -> Shape:
    """Height, width and channels of the images that the model takes; raises OutOfScopeError where they are open."""
    if not model.gradients:
        raise OutOfScopeError(
            f"no seeds, and none can be drawn from a function without gradients. Give the Keras model. {GIVE_SEEDS}"
        )
    shape = model.input_shape
    if len(shape) == 1 or None in shape:
        raise OutOfScopeError(
            f"no seeds, and none can be drawn from a model that takes inputs of shape {shape}: "
            f"its images have no fixed height, width and channels. {GIVE_SEEDS}"
        )
    height, width, channels = (*shape, 1)[:3]
    return height, width, channels


def scalings(model: Classifier, settings: synthetic.Settings, channels: int) -> list[Scaling]:
    """The scalings worth trying, each named by its range and by who says so."""
    if settings.white:
        return [up_to(settings.white, channels, "as set")]
    if model.white:
        return [up_to(model.white, channels, "as the model's first layers say")]
    return [up_to(white, channels, "assumed") for white in WHITES]
