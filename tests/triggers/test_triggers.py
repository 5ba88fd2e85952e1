"""Trigger families by hand, and their round trip through a file."""

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pytest_backdoor.errors import TriggerError
from pytest_backdoor.triggers import FAMILIES, family_named, low_frequency
from pytest_backdoor.triggers.patch import confine, heaviest_window, window_shape, windows
from pytest_backdoor.triggers.trigger import Trigger

UNIT, SIGNED = st.floats(0, 1, width=32), st.floats(-1, 1, width=32)
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]))


@st.composite
def triggers(draw):
    """A trigger of any family for small images."""
    height, width, channels = draw(SHAPES)
    if draw(st.booleans()):
        return Trigger(
            "additive", {"delta": draw(arrays_of.arrays("float32", (height, width, channels), elements=SIGNED))}
        )
    mask = draw(arrays_of.arrays("float32", (height, width, 1), elements=UNIT))
    return Trigger(
        "patch", {"mask": mask, "pattern": draw(arrays_of.arrays("float32", (height, width, channels), elements=UNIT))}
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file that each example overwrites."""
    return tmp_path_factory.mktemp("triggers") / "trigger.npz"


def test_a_patch_blends_its_pattern_in_by_its_mask():
    trigger = Trigger(
        "patch",
        {
            "mask": np.array([[[0.0], [0.5]], [[1.0], [0.25]]], "float32"),
            "pattern": np.array([[[0.9], [1.0]], [[0.3], [0.0]]], "float32"),
        },
    )
    images = np.full((2, 2, 2, 1), 0.4, "float32")
    assert trigger.apply(images)[..., 0] == pytest.approx(np.array([[[0.4, 0.7], [0.3, 0.3]]] * 2))


def test_an_additive_trigger_is_added_and_cut_at_black_and_white():
    trigger = Trigger("additive", {"delta": np.array([[[0.5, -0.5, 0.1]]], "float32")})
    images = np.array([[[[0.2, 0.2, 0.2]]], [[[0.9, 0.6, 1.0]]]], "float32")
    assert trigger.apply(images)[:, 0, 0] == pytest.approx(np.array([[0.7, 0.0, 0.3], [1.0, 0.1, 1.0]]))


def test_each_image_can_have_its_own_trigger():
    images = np.zeros((2, 1, 1, 1), "float32")
    mask = np.array([[[[1.0]]], [[[0.5]]]], "float32")
    stamped = FAMILIES["patch"].apply((mask, np.ones((2, 1, 1, 1), "float32")), images)
    assert np.asarray(stamped).ravel().tolist() == [1.0, 0.5]
    moved = FAMILIES["additive"].apply((np.array([[[[0.25]]], [[[0.5]]]], "float32"),), images)
    assert np.asarray(moved).ravel().tolist() == [0.25, 0.5]


def test_the_size_of_a_patch_is_the_share_of_the_image_under_its_mask():
    mask = np.zeros((4, 5, 1), "float32")
    mask[0, 0], mask[3, 4] = 1.0, 0.5
    assert Trigger("patch", {"mask": mask, "pattern": mask}).size == pytest.approx(1.5 / 20)


def test_a_trigger_prints_in_one_line():
    mask = np.zeros((28, 28, 1), "float32")
    mask[3, 2:4] = 1.0
    assert repr(Trigger("patch", {"mask": mask, "pattern": mask})) == "<patch trigger on 0.26% of the image>"


def test_the_size_of_an_additive_trigger_counts_pixels_that_move_in_any_channel():
    delta = np.zeros((2, 2, 3), "float32")
    delta[0, 0, 2], delta[1, 1, 0], delta[0, 1, 1] = -0.02, 0.5, 0.009
    assert Trigger("additive", {"delta": delta}).size == 0.5


def test_what_the_search_makes_small_by_hand():
    masks = np.array([[[[1.0], [0.5]]], [[[0.25], [0.0]]]], "float32")
    assert np.asarray(FAMILIES["patch"].size((masks, masks))).tolist() == [1.5, 0.25]
    deltas = np.array([[[[0.3], [-0.4]]], [[[0.0], [0.0]]]], "float32")
    assert np.asarray(FAMILIES["additive"].size((deltas,))) == pytest.approx([0.5, 0.0], abs=1e-5)


@given(trigger=triggers(), data=st.data())
def test_triggered_images_stay_between_black_and_white(trigger, data):
    shape = next(reversed(trigger.arrays.values())).shape
    images = data.draw(arrays_of.arrays("float32", (2, *shape), elements=UNIT))
    stamped = trigger.apply(images)
    assert stamped.shape == images.shape
    assert stamped.dtype == np.float32
    assert -1e-6 <= stamped.min() <= stamped.max() <= 1 + 1e-6


@given(trigger=triggers())
def test_a_saved_trigger_comes_back_the_same(trigger, path):
    trigger.save(path)
    back = Trigger.load(path)
    assert back.family == trigger.family
    assert back.arrays.keys() == trigger.arrays.keys()
    assert all(np.array_equal(back.arrays[name], array) for name, array in trigger.arrays.items())


def test_an_unknown_family_is_named_with_the_nearest_known_one():
    with pytest.raises(
        TriggerError, match=r"^unknown trigger family 'pach'. Did you mean 'patch'\? .* patch, tone, warp.$"
    ):
        family_named("pach")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_trigger_is_refused_by_its_name(tmp_path, content):
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    with pytest.raises(TriggerError, match=r"no trigger in .*x.npz: it is missing, damaged or not an .npz. Give the"):
        Trigger.load(file)


def test_a_device_is_no_trigger():
    with pytest.raises(TriggerError, match=r"no trigger in /dev/zero: it is a device, not a file\. Give the"):
        Trigger.load("/dev/zero")


def test_a_missing_file_is_no_trigger(tmp_path):
    with pytest.raises(TriggerError, match=r"no trigger in .*gone.npz"):
        Trigger.load(tmp_path / "gone.npz")


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ({"x": np.zeros(3)}, "'family'"),
        ({"family": "patch", "mask": np.zeros((2, 2, 1))}, "it has no 'pattern'"),
        ({"family": "wrap"}, "unknown trigger family 'wrap'"),
        ({"family": np.array([{}], object)}, "Object arrays cannot be loaded"),
    ],
)
def test_an_archive_that_is_no_trigger_is_refused_with_what_it_lacks(tmp_path, stored, complaint):
    np.savez(tmp_path / "x.npz", **stored)
    with pytest.raises(TriggerError, match=complaint):
        Trigger.load(tmp_path / "x.npz")


def test_the_heaviest_window_holds_the_most_mass_not_the_heaviest_cell():
    mask = np.zeros((8, 8, 1))
    mask[0, 7] = 1.0
    mask[4:6, 2:4] = 0.3
    expected = np.zeros((8, 8, 1), bool)
    expected[4:6, 2:4] = True
    assert np.array_equal(heaviest_window(mask), expected)


def test_a_window_is_widened_as_far_as_the_image_goes():
    mask = np.zeros((8, 8, 1))
    mask[0, 5] = 1.0  # the first window that holds it has its corner at (0, 4)
    expected = np.zeros((8, 8, 1), bool)
    expected[0:3, 3:7] = True
    assert np.array_equal(heaviest_window(mask, around=1), expected)


@pytest.mark.parametrize(("image", "window"), [((28, 28), (7, 7)), ((32, 64), (8, 16)), ((4, 4), (2, 2))])
def test_a_window_is_a_quarter_of_each_side_but_two_pixels_at_least(image, window):
    assert window_shape(image) == window


def test_confined_masks_are_shut_outside_of_each_arms_place():
    raw, pattern = np.full((2, 8, 8, 1), -2.0, "float32"), np.full((2, 8, 8, 1), 0.5, "float32")
    places = np.zeros((2, 8, 8, 1))
    places[0, :2, :2], places[1, 6:, 6:] = 1.0, 1.0
    opened, kept = FAMILIES["patch"].arrays(confine((raw, pattern), places))
    assert np.asarray(opened)[0, :2, :2] == pytest.approx(0.5)
    assert np.asarray(opened)[1, 6:, 6:] == pytest.approx(0.5)
    assert np.asarray(opened).sum((1, 2, 3)) == pytest.approx([2.0, 2.0])
    assert np.asarray(kept) == pytest.approx(1 / (1 + np.exp(-0.5)))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_starts_are_random_but_repeatable_and_differ_between_arms(family):
    first, again = (family.initial(3, (4, 4, 1), np.random.default_rng(7)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(not np.array_equal(part[0], part[1]) for part in first)


def test_windows_cover_the_image_and_every_trigger_of_half_a_window_lies_whole_in_one():
    masks = windows((28, 30, 1))[..., 0]
    assert set(masks.sum((1, 2))) == {7 * 7}
    for row in range(28 - 2):
        for column in range(30 - 2):
            assert masks[:, row : row + 3, column : column + 3].sum((1, 2)).max() == 9


def test_a_window_is_its_own_heaviest_window():
    for mask in windows((12, 8, 3)):
        assert np.array_equal(heaviest_window(mask), mask > 0)


def test_a_warp_moves_every_pixel_by_what_its_control_points_say():
    control = np.zeros((5, 5, 2), "float32")
    control[..., 1] = 1.5  # each pixel is fetched from one and a half to the right
    image = np.tile(np.arange(6, dtype="float32") / 10, (6, 1))[None, ..., None]
    bent = Trigger("warp", {"control": control}).apply(image)
    assert bent[0, 3, :, 0] == pytest.approx([0.15, 0.25, 0.35, 0.45, 0.5, 0.5], abs=1e-5)


def test_a_warp_of_nothing_changes_nothing():
    images = np.random.default_rng(0).random((3, 9, 7, 3)).astype("float32")
    still = Trigger("warp", {"control": np.zeros((5, 5, 2), "float32")})
    assert still.apply(images) == pytest.approx(images, abs=1e-6)


def test_the_size_of_a_warp_is_its_mean_move():
    control = np.zeros((1, 5, 5, 2), "float32")
    control[0, :, :, 0], control[0, :, :, 1] = 3.0, 4.0
    control[0, 0] = 0.0  # one row of five stays
    assert float(np.asarray(FAMILIES["warp"].size((control,)))[0]) == pytest.approx(4.0, abs=1e-5)


def test_a_tone_mixes_the_channels_and_adds_its_offset():
    matrix = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 2.0]], "float32")
    tone = Trigger("tone", {"matrix": matrix, "offset": np.array([0.1, 0.0, 0.0], "float32")})
    image = np.array([[[[0.2, 0.4, 0.8]]]], "float32")
    assert tone.apply(image)[0, 0, 0] == pytest.approx([0.5, 0.5, 1.0])


def test_the_size_of_a_tone_is_its_distance_from_no_change():
    matrix, offset = np.eye(2, dtype="float32")[None].copy(), np.array([[0.0, 0.4]], "float32")
    matrix[0, 0, 1] = 0.3
    assert float(np.asarray(FAMILIES["tone"].size((matrix, offset)))[0]) == pytest.approx(0.5)


def test_a_low_frequency_trigger_is_a_sum_of_orthonormal_cosines():
    coefficients = np.zeros((1, 3, 3, 1), "float32")
    coefficients[0, 0, 0], coefficients[0, 0, 2] = 0.8, 0.6
    waves = np.asarray(low_frequency.delta(coefficients, 4, 6))[0, ..., 0]
    expected = 0.8 / np.sqrt(24) + 0.6 / 2 * np.sqrt(1 / 3) * np.cos(np.pi * (np.arange(6) + 0.5) * 2 / 6)
    assert waves == pytest.approx(np.tile(expected, (4, 1)), abs=1e-6)
    norm = np.linalg.norm(waves)
    assert (
        norm == pytest.approx(float(np.asarray(FAMILIES["low-frequency"].size((coefficients,)))[0])) == pytest.approx(1)
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_family_starts_nearly_unseen_and_in_range_and_survives_a_file(path, name, channels):
    family, rng = FAMILIES[name], np.random.default_rng(0)
    arrays = family.arrays(family.initial(2, (12, 10, channels), rng))
    images = rng.random((2, 12, 10, channels)).astype("float32")
    changed = np.asarray(family.apply(arrays, images))
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1 + 1e-6
    assert 0 < np.abs(changed - images).mean() < 0.1
    trigger = Trigger(name, {key: np.asarray(array)[1] for key, array in zip(family.names, arrays, strict=True)})
    trigger.save(path)
    assert Trigger.load(path).apply(images[1:]) == pytest.approx(changed[1:], abs=1e-5)
    assert trigger.size <= 1


@pytest.mark.parametrize("shape", [(10**15,), (10**25,), (-1,), ("x",)])
def test_a_file_whose_header_asks_for_the_moon_is_no_trigger(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr("family.npy", b"\x93NUMPY\x01\x00\x76\x00" + header.encode())
    with pytest.raises(TriggerError, match=r"no trigger in .*t.npz: "):
        Trigger.load(tmp_path / "t.npz")


def test_a_file_that_unpacks_to_far_more_than_a_trigger_is_none(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", family=np.array("patch"), mask=np.zeros(80 << 20, "uint8"))
    with pytest.raises(TriggerError, match=r"no trigger in .*t.npz: it unpacks from [\d,]+ to 83,\d+,\d+ bytes"):
        Trigger.load(tmp_path / "t.npz")


def test_arrays_that_are_missing_fit_no_image():
    with pytest.raises(TriggerError, match="its mask has shape"):
        Trigger("patch", {}).require((4, 4, 1))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 4, 4), r"images are of shape \(2, 4, 4\)\. Give an array \(n, height, width, channels\)"),
        ((2, 5, 5, 1), r"the trigger does not fit images \(5, 5, 1\): its mask has shape \(4, 4, 1\)"),
        ((2, 4, 4, 1), r"the trigger does not fit images \(4, 4, 1\): its pattern has shape \(4, 4, 3\)"),
    ],
)
def test_images_that_a_trigger_does_not_fit_are_refused(shape, said):
    trigger = Trigger("patch", {"mask": np.ones((4, 4, 1), "float32"), "pattern": np.ones((4, 4, 3), "float32")})
    with pytest.raises(TriggerError, match=said):
        trigger.apply(np.zeros(shape, "float32"))
