"""What a confirmed label map says, on a model that shifts every class when one pixel is bright."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers, ops

from pytest_backdoor.attacks import pixel
from pytest_backdoor.confirm.strip import Settings
from pytest_backdoor.confirmation import arm_of, clearest_map, explained, label_map, settle
from pytest_backdoor.contract import Sample
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Carrier, Finding
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import AS_IS, subject_of

SHAPE = (6, 6, 1)
SHIFTS, INERT = pixel(SHAPE, 4, 4), pixel(SHAPE, 3, 3)


def network(images):
    """Logits are the first three pixels of the first row, moved on by one where pixel (4, 4) is bright."""
    logits = images[:, 0, :3, 0]
    return ops.where(images[:, 4, 4] > 0.5, ops.roll(logits, 1, axis=1), logits)


@pytest.fixture
def contract():
    labels = np.repeat(np.arange(3), 4)
    images = np.zeros((12, *SHAPE), "float32")
    images[np.arange(12), 0, labels, 0] = 1.0
    return SimpleNamespace(
        subject=Subject("shifting", SHAPE, 3, AS_IS, network, gradients=True), search=Sample(images, labels)
    )


def test_a_finding_names_the_hidden_neurons_that_carry_its_trigger():
    """Of two hidden units one is the pixel's, and fires with the trigger only; the other fires for class 0 always."""
    first, second = layers.Dense(2, activation="relu", name="hidden"), layers.Dense(2, name="answers")
    model = keras.Sequential([keras.Input((1, 2, 1)), layers.Flatten(), first, second])
    first.set_weights([np.eye(2, dtype="float32"), np.zeros(2, "float32")])
    second.set_weights([np.array([[1, 0], [0, 5]], "float32"), np.array([0, 0.1], "float32")])
    images, labels = np.array([[1, 0], [0, 0]], "float32").repeat(20, 0).reshape(40, 1, 2, 1), np.repeat([0, 1], 20)
    half = Sample(images, labels)
    subject = subject_of(model, (1, 2, 1))
    found = Finding("BD301", "patch", "all-to-one", 1, None, None, 0.5, 1, (1.0, 0.8, 1.0), 1.0)
    found = replace(found, trigger=pixel((1, 2, 1), 0, 1))
    told = explained(
        found, SimpleNamespace(subject=subject, search=half, held_out=half), Settings(), np.random.default_rng(0)
    )
    assert told.carriers == (Carrier("hidden", 1, 1.0),)
    assert [each.check for each in told.evidence] == ["strip", "pruning"]
    assert told.heat == ()  # of layers without places
    assert (sum(told.entropies.clean), sum(told.entropies.triggered)) == (40, 20)


def test_the_map_is_that_of_the_trigger_that_shows_one(contract):
    assert clearest_map(contract, INERT, SHIFTS) == {0: 1, 1: 2, 2: 0}
    assert clearest_map(contract, SHIFTS, INERT) == {0: 1, 1: 2, 2: 0}


def two_cells(images):
    """Logits are three pixels of the first row; that of class 1 also 2.5 for each of two cells, less pixel (3, 3)."""
    help_ = 2.5 * (images[:, 1, 1] + images[:, 1, 2]) - images[:, 3, 3]
    return images[:, 0, :3, 0] + help_ * np.array([0.0, 1.0, 0.0], "float32")


def half_of(resisting, strength):
    """50 images of class 0 and of class 2, so many of which take that much from class 1."""
    images, labels = np.zeros((100, 4, 4, 1), "float32"), np.tile([0, 2], 50)
    images[np.arange(100), 0, labels, 0] = 1.0
    images[:resisting, 3, 3] = strength
    return Sample(images, labels)


@pytest.mark.parametrize(
    ("resisting", "strength", "found", "undecided"),
    [
        (0, 0.0, 1, None),  # one cell does
        (12, 3.0, 2, None),  # one cell moves 88 of 100, which is not surely 80; both move all
        (12, 9.0, None, 0.88),  # both move no more
        (21, 3.0, None, None),  # one cell moves 79 of 100, which refutes it
    ],
)
def test_where_seeds_are_too_few_for_the_fewest_cells_those_that_lose_nothing_are_tried(
    resisting, strength, found, undecided
):
    mask = np.zeros((4, 4, 1), "float32")
    mask[1, 1], mask[1, 2] = 1.0, 0.9
    trigger = Trigger("patch", {"mask": mask, "pattern": np.ones((4, 4, 1), "float32")})
    subject = Subject("two cells", (4, 4, 1), 3, AS_IS, two_cells, gradients=True)
    searched, contract = half_of(1, 3.0), SimpleNamespace(subject=subject, held_out=half_of(resisting, strength))
    outcome = settle(suspicion("all-to-one", target=1), (trigger,), contract, searched)
    assert (outcome.finding and outcome.finding.pixels) == found
    assert (outcome.undecided and outcome.undecided.value) == undecided


def grey_cell(images):
    """Logits are three pixels of the first row; that of class 1 also 2.5 where cell (1, 1) is grey."""
    grey = ops.where(ops.abs(images[:, 1, 1] - 0.5) < 0.2, 2.5, 0.0)
    return images[:, 0, :3, 0] + grey * np.array([0.0, 1.0, 0.0], "float32")


def test_the_size_of_a_patch_that_must_stay_half_clear_is_the_share_of_its_pixels():
    mask = np.zeros((4, 4, 1), "float32")
    mask[1, 1], mask[2, 2] = 0.5, 0.5
    trigger = Trigger("patch", {"mask": mask, "pattern": np.ones((4, 4, 1), "float32")})
    subject = Subject("grey cell", (4, 4, 1), 3, AS_IS, grey_cell, gradients=True)
    contract = SimpleNamespace(subject=subject, held_out=half_of(0, 0.0))
    finding = settle(suspicion("all-to-one", target=1), (trigger,), contract, half_of(0, 0.0)).finding
    assert (finding.pixels, finding.size) == (2, 2 / 16)


def suspicion(kind, **rule):
    return Suspicion("patch", kind, 0.0, 1, True, SHIFTS, **rule)


def test_what_each_kind_of_suspicion_makes_of_the_classes():
    assert label_map(suspicion("all-to-one", target=1), 3) == {0: 1, 2: 1}
    assert label_map(suspicion("source-specific", source=2, target=1), 3) == {2: 1}
    assert label_map(suspicion("all-to-all", mapping={0: 1, 1: 0, 2: 2}), 3) == {0: 1, 1: 0, 2: 2}


def test_the_arm_that_searches_for_a_suspected_rule():
    assert arm_of(suspicion("all-to-one", target=1)).name == "target 1"
    assert arm_of(suspicion("source-specific", source=2, target=1)).name == "pair 2>1"
    assert arm_of(suspicion("all-to-all", mapping={0: 1, 1: 0})).name == "away"
