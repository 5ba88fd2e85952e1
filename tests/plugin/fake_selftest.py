"""A self-test that answers by file name, for tests of what happens around one."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_backdoor import options as option
from pytest_backdoor.results import Planted, SelfTest

PIXEL = Planted("pixel", "patch", "all-to-one", 1 / 784, 1, 0.97, (0.98, 0.97), True, True, True, 1e-6, 9.0)
WARP = Planted("warp", "warp", "all-to-one", 1.0, 784, 0.95, (0.98, 0.96), True, False, False, 0.4, 20.0)
TONE = Planted("tone", "tone", "all-to-one", 0.5, 784, 0.7, (0.98, 0.98), False, False, False, None, 8.0)
ANSWERS = {
    "clean": ((PIXEL, WARP, TONE), (0.5, 0.0025, 0.9975), {"patch": 1 / 784}, None),
    "clean_all": ((PIXEL,), (1.0, 0.005, 1.0), {"patch": 1 / 784}, None),
    "clean_none": ((TONE,), None, {}, None),
    "clean_odd": ((), None, {}, "Keras cannot copy the model"),
}


def selftest(model, seeds=None, options=None, plans=(), name=None, done=lambda planted: None) -> SelfTest:
    """Answers, and writes down beside the tests what it was asked."""
    with open("planted.jsonl", "a", encoding="utf-8") as log:
        asked = option.to_dict(options) | {"model": str(model), "plans": list(plans)}
        log.write(json.dumps(asked) + "\n")
    plants, found, smallest, error = ANSWERS[Path(name or str(model)).stem]
    for each in plants:
        done(each)
    return SelfTest(name or str(model), "ab" * 32, plants, found, smallest, 37.0, error)
