"""The summary, the pictures and the failure text, as users read them."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.report import picture, words
from pytest_backdoor.report.failure import failure_text
from pytest_backdoor.report.text import render
from pytest_backdoor.results import Evidence, ScanResult, SeedsUsed
from tests.report import samples

SUMMARY = """\
| verdict      | kind            | target      | size | success      | p-value | seconds | model               |
|--------------|-----------------|-------------|------|--------------|---------|---------|---------------------|
| backdoor     | all-to-one      | 7           | 8 px | 97 % (93-99) |   1e-06 |    12.3 | models/lenet.keras  |
| backdoor     | all-to-all      | 0>1 1>2 ... | 8 px | 97 % (93-99) |   1e-06 |    12.3 | models/lenet.keras  |
| backdoor     | source-specific | 3 -> 7      | 8 px | 97 % (93-99) |   1e-06 |    12.3 | models/lenet.keras  |
| error        |                 |             |      |              |         |     0.1 | models/broken.keras |
| inconclusive |                 |             |      |              |         |     3.0 | models/small.h5     |
| clean        |                 |             |      |              |     0.4 |     9.0 | models/clean.keras  |

models/broken.keras: not a zip archive
models/small.h5: 8 seeds are too few
models/small.h5: skipped: no labels

models/lenet.keras, trigger of target class 7: rows 24 to 26, columns 23 to 25 of 28 x 28

  +------+
  |..  --|
  |==++**|
  |##%%@@|
  +------+

  two characters per pixel, from . (dark) to @ (bright); blank pixels stay as they are; saved in TRIGGER
"""
FAILURE = """\
BACKDOOR all-to-one, target class 7: 8 pixels (1.02 %), success 97 % (93 to 99 %)
  model    models/lenet.keras (sha256 0123456789ab)
  p-value  1e-06 for everything that was tried (alpha 0.01)
  against  102 clean models: grey
  seeds    200, scaling /255, accuracy 98.1 %
  effect   an image of any class that bears the trigger is taken for class 7
  trigger  patch, 8 pixels (1.02 %) of the image
  success  97 % (93 to 99 %) of held-out seeds, 99 % interval
  checks   99 % of triggered images stay predictable when blended with clean ones (STRIP)
  neurons  fire more often with the trigger, by: dense 12 (94 points), conv2d 3 (4.2 points)
  saved    .backdoor/0123456789ab-0.npz
  replay   assert_trigger_inert(model, ".backdoor/0123456789ab-0.npz", seeds, target=7)
  repeat   pytest models/lenet.keras::backdoor --backdoor-scan
  next     do not deploy this model; retrain from trusted data or repair it (pytest-backdoor repair), scan again, \
keep replay as a test"""


@pytest.fixture
def saved(tmp_path):
    """Saves arrays as a trigger: arrays -> path."""

    def save(**arrays):
        np.savez(tmp_path / "trigger.npz", **arrays)
        return tmp_path / "trigger.npz"

    return save


def test_the_summary_without_colour_reads_like_this(saved):
    path = str(saved(**samples.patch()))
    found = (
        samples.finding(path=path),
        samples.finding("all-to-all", None, mapping=samples.SHIFT),
        samples.finding("source-specific", source=3),
    )
    results = [samples.CLEAN, samples.UNSURE, samples.ERROR, samples.backdoor(*found)]
    assert render(results, colour=False, pictures=True).replace(path, "TRIGGER") == SUMMARY


def test_the_failure_text_says_that_there_were_no_seeds_and_what_was_assumed():
    drawn = SeedsUsed(240, "0..1 (assumed)", None, 120, 120)
    text = failure_text(dataclasses.replace(samples.backdoor(), seeds=None, synthetic_seeds=drawn), 0.01)
    assert "  seeds    none; 240 synthetic ones, values 0..1 (assumed)\n" in text
    assert "  success  97 % (93 to 99 %) of held-out synthetic seeds, 99 % interval\n" in text


def test_the_failure_text_reads_like_this():
    result = samples.backdoor(samples.finding(path=".backdoor/0123456789ab-0.npz"))
    assert failure_text(result, 0.01, "pytest models/lenet.keras::backdoor --backdoor-scan") == FAILURE


def test_what_pruning_took_is_said_as_a_difference_of_two_shares():
    found = dataclasses.replace(samples.finding(), evidence=(Evidence("pruning", 0.44),))
    line = (
        "  checks   pruning the neurons that the trigger moves most: share of its success lost minus share of accuracy "
        "lost, 44 % at most"
    )
    assert line in failure_text(samples.backdoor(found), 0.01).splitlines()


def test_several_findings_are_counted_in_the_first_line_and_told_apart():
    found = (samples.finding("source-specific", source=3), samples.finding("all-to-all", None, mapping=samples.SHIFT))
    lines = failure_text(samples.backdoor(*found), 0.01).splitlines()
    assert lines[0].startswith("BACKDOOR source-specific, class 3 -> 7 (and 1 more): 8 pixels")
    assert "  finding  BD302 all-to-all, 0>1 1>2 2>3 3>4 ..." in lines
    assert "  effect   each class is taken for another: 0>1 1>2 2>3 3>4 4>5 5>6 6>7 7>8 8>9 9>0" in lines


def test_the_replayed_line_names_source_and_mapping():
    single = samples.finding("source-specific", source=3, path="t.npz")
    shifted = samples.finding("all-to-all", None, mapping={0: 1, 1: 0}, path="t.npz")
    text = failure_text(samples.backdoor(single, shifted), 0.01)
    assert 'assert_trigger_inert(model, "t.npz", seeds, target=7, source=3)' in text
    assert 'assert_trigger_inert(model, "t.npz", seeds, mapping={0: 1, 1: 0})' in text


def test_an_error_says_what_is_wrong_in_its_first_line():
    assert failure_text(samples.ERROR, 0.01).startswith("ERROR models/broken.keras: not a zip archive\n")


def test_findings_without_a_verdict_come_with_the_reason():
    result = ScanResult("m.keras", "", "inconclusive", findings=(samples.finding(),), error="out of time")
    assert "  reason   out of time" in failure_text(result, 0.01)


def test_a_path_that_would_command_the_terminal_is_written_out():
    text = render([samples.backdoor(path="[red]\x1b[2J\u202e.keras")], colour=False, pictures=True)
    assert "[red]\\x1b[2J\\u202e.keras" in text
    assert "\x1b" not in text


def test_unpaired_surrogates_of_file_names_can_be_printed():
    assert words.visible("caf\udce9.keras").encode() == b"caf\\udce9.keras"


def test_colour_paints_two_pixels_per_character(saved):
    drawn = picture.read(saved(**samples.patch(3)))
    upper, lower = picture.coloured(drawn)
    assert (upper.plain, lower.plain) == ("▀▄▀", "▀▀▀")
    first = upper.spans[0].style
    assert (first.color.triplet.hex, first.bgcolor.triplet.hex) == ("#000000", "#606060")


def test_a_large_trigger_is_thinned_to_fit(saved):
    mask, pattern = np.ones((300, 100, 1)), np.zeros((300, 100, 3))
    drawn = picture.read(saved(mask=mask, pattern=pattern))
    for rows in (picture.coloured(drawn), picture.shaded(drawn)):
        assert len(rows) <= picture.ROWS
        assert max(len(row) for row in rows) <= 2 * picture.COLUMNS


def test_an_additive_trigger_is_drawn_around_grey(saved):
    delta = np.zeros((5, 5, 1))
    delta[1, 1], delta[3, 2] = -0.02, 0.02
    drawn = picture.read(saved(delta=delta))
    assert drawn.place == "rows 1 to 3, columns 1 to 2 of 5 x 5"
    assert [row.plain for row in picture.shaded(drawn)] == ["..  ", "    ", "  @@"]


def test_one_pixel_has_one_row_and_one_column(saved):
    mask = np.zeros((5, 5, 1))
    mask[2, 3] = 1
    assert picture.read(saved(mask=mask, pattern=mask)).place == "row 2, column 3 of 5 x 5"


@pytest.mark.parametrize(
    "arrays", [{"other": np.ones(3)}, {"mask": np.zeros((5, 5, 1)), "pattern": np.ones((5, 5, 1))}]
)
def test_what_cannot_be_drawn_is_left_out(saved, arrays):
    assert picture.read(saved(**arrays)) is None


def test_a_missing_file_is_left_out(tmp_path):
    assert picture.read(tmp_path / "none.npz") is None
    assert "saved in" not in render([samples.backdoor(samples.finding(path="none.npz"))], colour=False, pictures=True)


def test_a_trigger_without_a_place_is_as_large_as_the_image():
    whole = dataclasses.replace(samples.finding(), size=1.0, pixels=784)
    assert words.extent(whole, " of the image") == "the whole image"
