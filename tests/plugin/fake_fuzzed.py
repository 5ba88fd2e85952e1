"""A run of fuzzing that answers by file name, for tests of what happens around one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pytest_backdoor import options as option
from pytest_backdoor import rules
from pytest_backdoor.errors import OptionError
from pytest_backdoor.results import FuzzRun
from tests.report import samples


def fuzz_model(model, seeds=None, options=None, rule=None, name=None, against=()) -> FuzzRun:
    """Answers, and writes down beside the tests what it was asked."""
    asked = option.to_dict(options) | {
        "model": str(model),
        "rule": None if rule is None else rules.text(rule),
        "given": str(seeds),
    }
    asked |= {"against": [str(each) for each in against]}
    with open("fuzzed.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(asked) + "\n")
    shown = name or str(model)
    if Path(shown).stem.endswith("four"):
        raise OptionError("fuzz.target is 9, but the model knows the classes 0 to 3.")
    if Path(shown).stem.endswith("odd"):
        return FuzzRun(shown, "ab" * 32, {}, error="no seeds to push")
    rate = None if rule is None else 0.5
    return dataclasses.replace(
        samples.fuzz_run(), path=shown, rule=None if rule is None else rules.text(rule), activation=rate
    )
