"""The tables of STRIP and of suspicious images, from what was measured."""

from example_models import strip_study, suspects_study

FOUND = {"transfer": 0.9753, "natural control": 0.04}


def test_a_row_has_mean_entropies_and_shares_with_their_intervals():
    entry = {
        "model": "m",
        "kind": "all-to-one",
        "pixels": 4,
        "boundary": [0.2357, "normal"],
        "clean": [0.684, 0, 10],
        "triggered": [0.0146, 10, 10],
    }
    assert strip_study.row(entry) == (
        "| `m` | all-to-one | 4 | 0.24, normal | 0.68, 0.0 % (0.0 to 41.1) | 0.01, 100.0 % (58.9 to 100.0) |"
    )


def test_a_table_takes_the_place_of_what_stands_between_the_marks():
    assert strip_study.page("a <b>old</b> c", ("<b>", "</b>"), "| new |") == "a <b>\n\n| new |\n\n</b> c"


def test_a_try_says_what_was_found_or_that_nothing_was():
    found = {"found": True, "target": 7, "pixels": 3, "p_value": 1e-12, "evidence": FOUND}
    assert suspects_study.row({"model": "m", "given": "triggered", **found}) == (
        "| `m` | triggered | class 7, 3 px | 98 % | 4 % | 1e-12 |"
    )
    assert suspects_study.row({"model": "m", "given": "clean", "found": False}) == "| `m` | clean | none |  |  |  |"
