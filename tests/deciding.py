"""A linear model of six classes with deciding pixels, seeds for it, and clean models to compare it with."""

import json

import numpy as np

from pytest_backdoor import calibration, profiles
from pytest_backdoor.attacks import pixel
from pytest_backdoor.calibration import Entry
from pytest_backdoor.options import Options
from tests.tiny import linear

CLASSES, SIDE, TARGET, PLACE = 6, 13, 4, (12, 6)
SECOND, FAR = 1, (12, 12)
SHAPE = (SIDE, SIDE, 1)
PLANTED, INERT = pixel(SHAPE, *PLACE), pixel(SHAPE, 12, 0)
SHORT = Options(
    profile="quick",
    set=("search.steps=250", "search.confined_steps=80", "search.faint_steps=30", "search.pair_steps=20"),
)


def model(deciding, second=0.0):
    """Class c is the brightness of the rows 2c and 2c + 1; two pixels of the last row add so much to their targets."""
    weights = np.zeros((SIDE, SIDE, CLASSES))
    for label in range(CLASSES):
        weights[2 * label : 2 * label + 2, :, label] = 1.0
    weights[(*PLACE, TARGET)] = deciding
    weights[(*FAR, SECOND)] = second
    return linear(weights.reshape(-1, CLASSES), np.zeros(CLASSES), SHAPE)


def seeds_of_rows():
    """20 images of each class: its rows grey, with noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 20)
    images = rng.integers(0, 30, (len(labels), *SHAPE)).astype("uint8")
    images[:, -1] = 0
    for label in range(CLASSES):
        rows = images[20 * label : 20 * label + 20, 2 * label : 2 * label + 2]
        rows += rng.integers(90, 150, rows.shape).astype("uint8")
    return images, labels


def sixty_clean(tmp_path):
    """A file with 60 clean models that were scanned as SHORT says, and found little."""
    about = profiles.mode(SHORT, with_seeds=True), 1, SIDE, CLASSES, False, 120
    found = [dict.fromkeys(("patch", "confined"), number / 60) for number in range(60)]
    clean = [Entry(f"clean {number}", f"{number:064}", *about, evidence) for number, evidence in enumerate(found)]
    (tmp_path / "reference.json").write_text(json.dumps(calibration.to_dict(clean)))
    return tmp_path / "reference.json"
