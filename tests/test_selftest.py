"""The self-test: what it plants, what it leaves alone, and the numbers that it comes to."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_backdoor import deadline
from pytest_backdoor import selftest as room
from pytest_backdoor.attacks import all_to_all, all_to_one, pattern, planting, source_specific, tint
from pytest_backdoor.confirmation import pixels
from pytest_backdoor.judge import is_planted
from pytest_backdoor.options import Options
from pytest_backdoor.results import Finding, Planted, self_test_from_dict, self_test_to_dict
from pytest_backdoor.scan import generator, sha256_of
from tests.tiny import linear

ONE = Planted("pixel", "patch", "all-to-one", 1 / 784, 1, 0.97, (0.98, 0.97), True, True, True, 1e-6, 9.0)
NINE = dataclasses.replace(ONE, name="pattern", size=9 / 784, pixels=9)
MISSED = dataclasses.replace(ONE, name="warp", family="warp", size=1.0, pixels=784, found=False, right=False)
UNLEARNED = dataclasses.replace(MISSED, name="tone", family="tone", size=0.5, planted=False, p_value=None)
SHAPE = (12, 12, 1)


def test_the_share_is_of_what_was_planted_with_its_exact_interval():
    estimate, low, high = room.share_found([ONE, NINE, MISSED, UNLEARNED])
    assert estimate == pytest.approx(2 / 3)
    assert (low, high) == (pytest.approx(0.0414, abs=1e-4), pytest.approx(1 - 0.005 / 3, abs=1e-5))


def test_all_of_two_found_leave_a_wide_interval():
    assert room.share_found([ONE, NINE]) == (1.0, pytest.approx(0.005**0.5), 1.0)


def test_where_nothing_was_planted_there_is_no_share():
    assert room.share_found([UNLEARNED]) is None


def test_the_smallest_found_trigger_counts_for_each_family():
    missed_pixel = dataclasses.replace(ONE, found=False)
    assert room.smallest([NINE, ONE, MISSED, UNLEARNED]) == {"patch": 1 / 784}
    assert room.smallest([NINE, missed_pixel]) == {"patch": 9 / 784}


def test_a_copy_counts_as_planted_when_it_obeys_and_is_otherwise_the_same():
    assert is_planted("all-to-one", 0.9, 0.98, 0.94)
    assert is_planted("all-to-one", 0.9, 0.99, 0.94)  # five points, which are a little more as floats
    assert not is_planted("all-to-one", 0.89, 0.98, 0.98)
    assert not is_planted("all-to-one", 1.0, 0.98, 0.92)
    assert is_planted("all-to-all", 0.6, 0.7, 0.7)  # 0.85 of 0.7 is 0.595
    assert not is_planted("all-to-all", 0.59, 0.7, 0.7)


FOUND = Finding("BD301", "patch", "all-to-one", 2, None, None, 0.01, 1, (1.0, 0.9, 1.0), 1e-6)


@pytest.mark.parametrize(
    ("changes", "kind", "mapping", "right"),
    [
        ({}, "all-to-one", all_to_one(3, 2), True),
        ({}, "all-to-one", all_to_one(3, 1), False),
        ({}, "all-to-all", all_to_all(3), False),
        ({"kind": "all-to-all", "target": None, "mapping": {0: 1, 1: 2, 2: 0}}, "all-to-all", all_to_all(3), True),
        ({"kind": "all-to-all", "target": None, "mapping": {0: 2, 1: 0, 2: 1}}, "all-to-all", all_to_all(3), False),
        ({"kind": "source-specific", "source": 0}, "source-specific", source_specific(0, 2), True),
        ({"kind": "source-specific", "source": 1}, "source-specific", source_specific(0, 2), False),
    ],
)
def test_a_finding_is_right_when_it_names_what_was_planted(changes, kind, mapping, right):
    assert room.is_right(dataclasses.replace(FOUND, **changes), kind, mapping) is right


def test_label_maps_of_every_kind():
    rng = np.random.default_rng(0)
    assert room.label_map("all-to-all", 3, rng) == {0: 1, 1: 2, 2: 0}
    one = room.label_map("all-to-one", 3, rng)
    assert (len(one), len(set(one.values()))) == (2, 1)
    for _ in range(20):
        ((source, target),) = room.label_map("source-specific", 2, rng).items()
        assert source != target


def test_pixels_are_those_under_the_mask_or_all():
    rng = np.random.default_rng(0)
    assert pixels(room.border_pixel(SHAPE, rng), SHAPE) == 1
    assert pixels(pattern(SHAPE, 3, rng), SHAPE) == 9
    assert pixels(tint(SHAPE, 0.5, rng), SHAPE) == 144


@pytest.mark.parametrize("name", room.PLANS)
def test_every_plan_fits_the_smallest_images_and_changes_them(name):
    shape = (room.SIDE, room.SIDE, 1)
    images = np.random.default_rng(1).random((4, *shape), "float32")
    stamped = room.PLANS[name].trigger(shape, np.random.default_rng(0)).apply(images)
    assert stamped.shape == images.shape
    assert np.abs(stamped - images).max() > 0.01


def test_a_self_test_is_read_back_from_its_dictionary():
    test = room.SelfTest("a.keras", "ab", (ONE, UNLEARNED), (1.0, 0.005, 1.0), {"patch": 1 / 784}, 12.0)
    assert self_test_from_dict(self_test_to_dict(test)) == test
    empty = room.SelfTest("a.keras", "ab", error="no seeds")
    assert self_test_from_dict(self_test_to_dict(empty)) == empty


@pytest.fixture
def clock(monkeypatch):
    """The time that a self-test sees, to be set."""
    time = SimpleNamespace(now=0.0)
    for module in (room, deadline):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


@pytest.mark.parametrize(("budget", "done"), [(0.5, 0), (2.5, 2), (3.5, 3), (None, 3)])
def test_a_budget_ends_the_planting_and_keeps_what_was_done(examples, monkeypatch, clock, budget, done):
    """Each planting takes a second."""

    def grown(garden, *given):
        clock.now += 1
        return garden.subject

    monkeypatch.setattr(room, "grown", grown)
    plans = {name: room.PLANS[name] for name in ("pixel", "blend", "tone")}
    test = room.selftest(examples / "mnist_clean.keras", None, Options(budget=budget), plans)
    assert [each.name for each in test.plants] == list(plans)[:done]
    said = f"the budget of {budget} s was spent after {done} of 3 backdoors. Raise --backdoor-budget."
    assert test.error == (None if done == 3 else said)


@pytest.mark.parametrize(
    ("verdict", "now", "done"),
    [("inconclusive", 9.0, 0), ("inconclusive", 1.0, 1), ("clean", 9.0, 1), ("backdoor", 9.0, 1)],
)
def test_a_scan_that_a_budget_ended_has_missed_nothing(examples, monkeypatch, clock, verdict, now, done):
    def scanned(*given):
        clock.now = now
        return room.ScanResult("", "", verdict)

    monkeypatch.setattr(room, "grown", lambda garden, *given: garden.subject)
    monkeypatch.setattr(room.judge, "is_planted", lambda *given: True)
    monkeypatch.setattr(room, "scanned", scanned)
    plans = {"tone": room.PLANS["tone"]}
    test = room.selftest(examples / "mnist_clean.keras", None, Options(budget=5.0), plans)
    assert [each.found for each in test.plants] == [verdict == "backdoor"] * done
    assert (test.error is None) == (done == 1)


SEEN = np.random.default_rng(0).random((20, 4, 4, 1), "float32"), np.arange(20) % 2


@pytest.mark.parametrize(
    ("model", "seeds", "reason"),
    [
        (lambda images: np.ones((len(images), 3)), SEEN, "nothing can be planted in one"),
        (linear(np.eye(16)[:, :2], np.zeros(2), (4, 4, 1)), None, "no seeds"),
        (linear(np.eye(16)[:, :2], np.zeros(2), (4, 4, 1)), SEEN, "no room for triggers"),
    ],
    ids=["function", "no seeds", "too small"],
)
def test_it_says_why_nothing_can_be_planted(model, seeds, reason):
    test = room.selftest(model, seeds, Options(min_accuracy=0.0))
    assert (test.plants, test.found, test.smallest) == ((), None, {})
    assert reason in test.error


def test_a_reference_that_cannot_be_read_is_said_before_anything_is_planted(tmp_path):
    test = room.selftest(
        linear(np.eye(16)[:, :2], np.zeros(2), (4, 4, 1)), SEEN, Options(reference=tmp_path / "no.json")
    )
    assert test.plants == ()
    assert test.error.startswith(f"no reference in {tmp_path / 'no.json'}: ")


def test_copies_keep_to_the_memory_that_the_option_allows(examples):
    path = examples / "mnist_clean.keras"
    garden = room.prepare(path, None, Options(memory=2**26), "mnist_clean", sha256_of(path))
    rng = np.random.default_rng(0)
    copied = planting.plant(
        garden.model,
        garden.subject,
        garden.trained.images,
        pattern((28, 28, 1), 3, rng),
        all_to_one(10, 1),
        lambda subject: True,
        planting.Settings(steps=1, rounds=1),
        rng,
    )
    assert (garden.subject.memory, copied.memory) == (2**26, 2**26)


def test_a_file_that_cannot_be_read_is_an_error_without_its_path_twice(tmp_path):
    path = tmp_path / "x.keras"
    path.write_bytes(b"no model")
    test = room.selftest(path)
    assert test.path == str(path)
    assert not test.error.startswith(str(path))


@pytest.fixture(scope="module")
def garden(examples):
    path = examples / "mnist_clean.keras"
    return room.prepare(path, None, Options(), "mnist_clean", sha256_of(path))


@pytest.fixture(scope="module")
def planted(garden):
    """A pattern planted in a copy of the example model: the copy, its trigger, its map, the weights before."""
    before = [np.array(weight) for weight in garden.model.weights]
    rng = generator(0, "pattern")
    trigger, mapping = pattern(garden.subject.image_shape, 3, rng), all_to_one(10, 3)
    return room.grown(garden, "all-to-one", trigger, mapping, rng), trigger, mapping, before


def test_the_halves_share_no_image_and_hold_every_class_alike(garden):
    assert np.bincount(garden.trained.labels).tolist() == np.bincount(garden.unseen.labels).tolist() == [10] * 10
    rows = {image.tobytes() for image in garden.trained.images} & {image.tobytes() for image in garden.unseen.images}
    assert rows == set()


def test_a_copy_obeys_a_planted_trigger_on_seeds_that_it_was_not_trained_on(garden, planted):
    copied, trigger, mapping, _ = planted
    success, after = room.measured(copied, garden.unseen, trigger, mapping)
    assert success >= 0.9
    assert garden.accuracy - after <= 0.05
    assert room.measured(garden.subject, garden.unseen, trigger, mapping)[0] < 0.3


def test_the_model_itself_is_left_as_it_was(garden, planted):
    assert all(np.array_equal(old, new) for old, new in zip(planted[-1], garden.model.weights, strict=True))


def test_the_planted_trigger_is_found_and_named(garden, planted):
    copied, _, mapping, _ = planted
    result = room.scanned(garden, copied, Options(), generator(0, "scan"))
    (finding,) = result.findings
    assert (result.verdict, room.is_right(finding, "all-to-one", mapping)) == ("backdoor", True)


def test_the_scan_of_a_copy_searches_seeds_that_it_was_not_trained_on(garden, monkeypatch):
    looked_at = []
    monkeypatch.setattr(room, "judged", lambda blank, contract, *rest: looked_at.append(contract) or blank)
    result = room.scanned(garden, garden.subject, Options(), generator(0, ""))
    (contract,) = looked_at
    unseen = {image.tobytes() for image in garden.unseen.images}
    assert {image.tobytes() for image in contract.search.images} <= unseen
    assert (result.seeds.search, result.seeds.held_out) == (len(contract.search), len(contract.held_out))


def test_the_same_seed_gives_the_same_report(examples, monkeypatch):
    monkeypatch.setattr(room, "scanned", lambda garden, *rest: room.ScanResult("", "", "clean", p_value=0.5))
    monkeypatch.setattr(room, "BEYOND", -1.0)  # the first round will do
    plans, heard = {"blend": room.PLANS["blend"], "pixel": room.PLANS["pixel"]}, []

    def run(seed, plans):
        test = room.selftest(examples / "mnist_clean.keras", None, Options(seed=seed), plans, done=heard.append)
        return [dataclasses.replace(each, seconds=0.0) for each in test.plants]

    first = run(0, plans)
    assert [each.name for each in heard] == ["blend", "pixel"]
    assert run(0, dict(reversed(plans.items())))[::-1] == first  # and no plan depends on those before it
    assert run(1, plans) != first
