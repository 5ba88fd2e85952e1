"""The report of a repair: its table, what it says, and the JSON document."""

import dataclasses
import json

from pytest_backdoor.report import repaired
from pytest_backdoor.results import Attempt, Repair
from tests.report import samples

BEFORE, AFTER, NONE = (0.98, 0.91, 0.999), (0.97, 0.895, 0.997), (0.0, 0.0, 0.057)
TRIED = Attempt("unlearning", AFTER, (NONE,), "tuned with 1 trigger", 7.44)
UNFIT = Attempt("fine-pruning", seconds=0.1, error="no convolution \x1b")
REPAIR = Repair(
    "m.keras",
    "ab" * 32,
    ("1>7",),
    BEFORE,
    ((0.99, 0.92, 1.0),),
    (UNFIT, TRIED),
    "unlearning",
    "new.keras",
    samples.CLEAN,
    12.345,
)
SHOWN = r"""| method       | accuracy                | success              | seconds | what it did          |
|--------------|-------------------------|----------------------|---------|----------------------|
| as it was    | 98 % (91 to 99.9 %)     | 99 % (92 to 100 %)   |         |                      |
| fine-pruning |                         |                      |     0.1 | no convolution \x1b  |
| unlearning   | 97 % (89.5 to 99.7 %)   | 0 % (0 to 5.7 %)     |     7.4 | tuned with 1 trigger |

m.keras: repaired by unlearning, written to new.keras
m.keras: a scan of the new file: CLEAN models/clean.keras
"""


def test_the_table_has_every_method_before_and_after():
    words = [line.split() for line in repaired.render(REPAIR, colour=False).splitlines() if "---" not in line]
    assert words == [line.split() for line in SHOWN.splitlines() if "---" not in line]


def test_what_was_chosen_is_coloured():
    assert "\x1b[1;32munlearning" in repaired.render(REPAIR, colour=True)


def test_a_refusal_says_why():
    refused = dataclasses.replace(REPAIR, chosen=None, output=None, rescan=None, error="no method does")
    assert repaired.render(refused, colour=False).endswith("\n\nm.keras: no method does\n")
    assert repaired.render(Repair("m", "", error="no seeds"), colour=False) == "m: no seeds\n"


def test_a_new_file_that_scans_as_backdoored_is_to_be_repaired_in_turn():
    still = dataclasses.replace(REPAIR, rescan=samples.backdoor())
    said = repaired.render(still, colour=False).splitlines()
    assert said[-2].startswith("m.keras: a scan of the new file: BACKDOOR all-to-one, target class 7: 8 pixels")
    assert said[-1] == "m.keras: the new file still obeys another trigger: repair it in turn"


def test_the_document_is_json_of_builtins():
    document = json.loads(repaired.document(REPAIR, {"name": "pytest-backdoor"}, {"seed": 0}))
    assert (document["schema"], document["options"]) == (1, {"seed": 0})
    repair = document["repair"]
    assert (repair["chosen"], repair["output"], repair["seconds"]) == ("unlearning", "new.keras", 12.35)
    assert repair["accuracy"] == list(BEFORE)
    assert repair["success"] == [[0.99, 0.92, 1.0]]
    assert repair["rescan"]["verdict"] == "clean"
    assert repair["attempts"][0] == {
        "method": "fine-pruning",
        "accuracy": None,
        "success": [],
        "done": "",
        "seconds": 0.1,
        "error": "no convolution \x1b",
    }
    assert repair["attempts"][1]["success"] == [list(NONE)]
