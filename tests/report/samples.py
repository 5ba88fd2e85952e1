"""Fixed results that the tests of the reports render."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.check_results import Histogram
from pytest_backdoor.results import Carrier, Evidence, Finding, FuzzRun, Heat, Inputs, ScanResult, SeedsUsed

SEEDS = SeedsUsed(200, "/255", 0.981, 100, 100)
EVIDENCE = (Evidence("transfer", 0.97, (0.93, 0.99)), Evidence("strip", 0.99))
HEAT = (Heat("conv2d", ((0.0, 0.5), (0.25, 0.0))),)
ENTROPIES = Histogram((0.0, 1.0, 2.0), (1, 9), (10, 0), (0, 0), 0.75)
CARRIERS = (Carrier("dense", 12, 0.94), Carrier("conv2d", 3, 0.0417))


class FakeTrigger:
    """A trigger that only saves."""

    def save(self, path):
        np.savez(path, **patch())


def patch(channels=1):
    """Three by three pixels in the lower right corner, from black to white, one of them left out."""
    mask, pattern = np.zeros((28, 28, 1), "float32"), np.zeros((28, 28, channels), "float32")
    mask[24:27, 23:26] = 1
    mask[24, 24] = 0
    pattern[24:27, 23:26] = np.linspace(0, 1, 9).reshape(3, 3, 1)
    return {"family": np.array("patch"), "mask": mask, "pattern": pattern}


def finding(kind="all-to-one", target=7, source=None, mapping=None, path=None, trigger=None):
    rule = {"all-to-one": "BD301", "all-to-all": "BD302", "source-specific": "BD303"}[kind]
    success = (0.97, 0.93, 0.99)
    size = 8 / 784, 8
    more = EVIDENCE, path, trigger, CARRIERS, HEAT, ENTROPIES
    return Finding(rule, "patch", kind, target, source, mapping, *size, success, 1e-6, *more)


SHIFT = {label: (label + 1) % 10 for label in range(10)}


def backdoor(*findings, path="models/lenet.keras"):
    digest, compared = "0123456789ab" + "0" * 52, "102 clean models: grey"
    found = findings or (finding(),)
    return ScanResult(path, digest, "backdoor", 12.34, 1e-6, 8.1, SEEDS, found, calibration=compared)


CLEAN = ScanResult("models/clean.keras", "c" * 64, "clean", 9.0, 0.4, 1.2, SEEDS, power={"patch": 0.01})
ERROR = ScanResult("models/broken.keras", "e" * 64, "error", 0.1, error="not a zip archive")
UNSURE = ScanResult(
    "models/small.h5", "a" * 64, "inconclusive", 3.0, error="8 seeds are too few", skipped=("no labels",)
)


def inputs(channels=1):
    """Two inputs: of the first seed, named cat, and of the twelfth from the second image of its queue."""
    images = np.linspace(0, 1, 8 * channels).reshape(2, 2, 2, channels).astype("float32")
    turn, iteration, before, after = (np.array(each) for each in ([0, 1], [2, 5], [3, 7], [8, 8]))
    return Inputs(("0-cat", "12"), turn, iteration, before, after, images)


def fuzz_run(**changes):
    given = {
        "path": "models/lenet.keras",
        "sha256": "0123456789ab" + "0" * 52,
        "settings": {"step": 0.1, "constraint": "box"},
        "changed": ("step=0.1", "constraint=box"),
        "seeds": 20,
        "seeds_sha256": "fedcba987654" + "0" * 52,
        "images": 100,
        "adversarial": 2,
        "flipped": 2,
        "before": {3: 0.5, 7: 0.5},
        "after": {8: 1.0},
        "rule": "next",
        "activation": 0.5,
        "l2": (1.25, 2.5),
        "linf": (0.1, 0.2),
        "coverage": (0.4, 0.45),
        "seconds": 4.25,
        "inputs": inputs(),
    }
    return FuzzRun(**given | changes)
