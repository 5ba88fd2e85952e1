"""Seeds from arrays, archives and folders."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pytest_backdoor.errors import ContractError
from pytest_backdoor.seeds import Seeds, as_seeds, in_scale_of, read_seeds, seeds_beside

BYTES = np.array([[[0, 51], [102, 255]], [[255, 0], [0, 0]]], "uint8")  # two images of 2 x 2


def ranges(seeds):
    return seeds.low.tolist(), seeds.high.tolist()


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("images", "low", "high", "unit"),
    [
        (BYTES, 0, 255, [0, 0.2, 0.4, 1]),
        (BYTES.astype("float64"), 0, 255, [0, 0.2, 0.4, 1]),
        (BYTES / np.float32(255), 0, 1, [0, 0.2, 0.4, 1]),
        (BYTES / np.float32(127.5) - 1, -1, 1, [0, 0.2, 0.4, 1]),
        (BYTES / np.float32(255) * np.float32(1.0000002), 0, 1, [0, 0.2, 0.4, 1]),
        (BYTES / np.float32(255) - np.float32(1e-7), 0, 1, [0, 0.2, 0.4, 1]),
        (BYTES * np.float32(1.000001), 0, 255, [0, 0.2, 0.4, 1]),
        (BYTES / np.float32(127.5), 0, 2, [0, 0.2, 0.4, 1]),
        (BYTES // 255, 0, 1, [0, 0, 0, 1]),
        (BYTES.astype("uint16") * 257, 0, 65535, [0, 0.2, 0.4, 1]),
    ],
    ids=[
        "bytes",
        "floats to 255",
        "floats to 1",
        "floats from -1",
        "a little above 1",
        "a little below 0",
        "a little above 255",
        "floats to 2",
        "bits",
        "16 bits",
    ],
)
def test_the_range_of_a_file_is_known_from_its_values(images, low, high, unit):
    seeds = as_seeds(images)
    assert ranges(seeds) == ([low], [high])
    assert seeds.images.shape == (2, 2, 2, 1)
    assert seeds.images.dtype == np.float32
    assert seeds.images[0].ravel() == pytest.approx(unit, abs=1e-6)


def test_standardised_images_run_between_the_extremes_of_each_channel():
    images = np.zeros((2, 1, 2, 3), "float32")
    images[0, 0, 0], images[1, 0, 1] = (-2.0, -1.5, 0.0), (2.0, 0.5, 0.0)
    seeds = as_seeds(images)
    assert ranges(seeds) == ([-2.0, -1.5, 0.0], [2.0, 0.5, 1.0])
    assert seeds.images[0, 0].tolist() == [[0.0, 0.0, 0.0], [0.5, 0.75, 0.0]]


@given(
    images=arrays_of.arrays(
        "float32",
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3])),
        elements=st.floats(-500, 500, width=16),
    )
)
def test_unit_scale_is_undone_by_the_range(images):
    seeds = as_seeds(images)
    assert 0 <= seeds.images.min() <= seeds.images.max() <= 1
    assert seeds.low + seeds.images * (seeds.high - seeds.low) == pytest.approx(images, abs=1e-3)


def test_images_without_channels_get_one_and_those_with_keep_theirs():
    assert as_seeds(np.zeros((5, 4, 3), "uint8")).images.shape == (5, 4, 3, 1)
    assert as_seeds(np.zeros((5, 4, 4, 3), "uint8")).images.shape == (5, 4, 4, 3)


def test_seeds_in_a_failing_test_take_one_line():
    images = np.zeros((2, 28, 20, 3), "uint8")
    assert repr(as_seeds(images)) == "<2 seeds of 28 x 20 x 3, unlabelled>"
    assert repr(as_seeds((images, [7, 7]))) == "<2 seeds of 28 x 20 x 3, 1 class>"


@pytest.mark.parametrize(
    "labels", [[1, 0], [[1], [0]], [[0, 1], [1, 0]], np.array([1.0, 0.0]), np.array([1, 0], "uint8")]
)
def test_labels_may_be_numbers_a_column_or_one_hot(labels):
    seeds = as_seeds((BYTES, labels))
    assert seeds.labels.tolist() == [1, 0]
    assert seeds.labels.dtype == np.int64


def test_images_alone_have_no_labels():
    assert as_seeds(BYTES).labels is None


def test_seeds_stay_as_they_are():
    seeds = as_seeds(BYTES)
    assert as_seeds(seeds) is seeds


@pytest.mark.parametrize(
    ("given_seeds", "complaint"),
    [
        (np.zeros((0, 4, 4), "uint8"), r"seeds are empty: shape \(0, 4, 4, 1\)"),
        (np.zeros((3, 0, 4), "uint8"), r"seeds are empty: shape \(3, 0, 4, 1\)"),
        (np.zeros((4, 4)), r"seeds have shape \(4, 4\) and type float64"),
        (np.zeros((1, 2, 4, 4, 1)), r"seeds have shape \(1, 2, 4, 4, 1\)"),
        (np.array([[["a"]]]), r"seeds have shape \(1, 1, 1\) and type <U1"),
        (np.empty((2, 2, 2), object), "seeds have shape .* and type object"),
        ([[1], [1, 2], [3]], "seeds are no array: .* Give images"),
        (np.full((2, 2, 2), np.nan), "seeds hold NaN or infinite values. Give finite images."),
        (np.full((2, 2, 2), np.inf), "seeds hold NaN or infinite values"),
        ((BYTES, [1, 2, 3]), r"labels have shape \(3,\) and type int64 for 2 images"),
        ((BYTES, ["cat", "dog"]), r"labels have shape \(2,\) and type <U3 for 2 images"),
        ((BYTES, [[1], [1, 2]]), "labels are no array"),
        ((BYTES, np.array([[1], [1, 2]], object)), "labels are no array"),
        ((BYTES, [0.0, np.nan]), "labels hold values that are no whole numbers"),
        ((BYTES, [0.0, 0.5]), "labels hold values that are no whole numbers"),
    ],
)
def test_what_are_no_seeds_is_said(given_seeds, complaint):
    with pytest.raises(ContractError, match=complaint):
        as_seeds(given_seeds)


def test_an_archive_is_read_with_and_without_labels(tmp_path):
    labelled = read_seeds(save(tmp_path / "a.npz", x=BYTES, y=[3, 1]))
    assert labelled.labels.tolist() == [3, 1]
    assert np.array_equal(labelled.images[..., 0], BYTES / np.float32(255))
    assert as_seeds(str(save(tmp_path / "b.npz", x=BYTES))).labels is None


def test_an_archive_without_x_is_refused_with_what_it_holds(tmp_path):
    with pytest.raises(ContractError, match=r"seeds .*a.npz hold images, y and no x. Give an .npz with x"):
        read_seeds(save(tmp_path / "a.npz", images=BYTES, y=[0, 1]))


def test_an_archive_with_pickled_arrays_is_not_opened(tmp_path):
    with pytest.raises(ContractError, match=r"seeds .*a.npz cannot be read: Object arrays cannot be loaded"):
        read_seeds(save(tmp_path / "a.npz", x=np.array([{}, []], object)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("images", [BYTES / 255 * 1e308, (BYTES / 255 - 0.5) * 1e307, np.full((2, 8, 8, 1), -(2**62))])
def test_values_beyond_any_image_are_refused(images):
    with pytest.raises(ContractError, match=r"seeds run from \S+ to \S+, too far for images\. Give images"):
        as_seeds(images)


def test_the_names_in_another_archive_do_not_fill_the_screen(tmp_path):
    with pytest.raises(ContractError) as caught:
        read_seeds(save(tmp_path / "a.npz", **{f"\x1b[31m{'a' * 1000}{n}": BYTES for n in range(9)}))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ContractError, match=r"seeds .*a.npz cannot be read: it is a pipe, not a file\. Give"):
        read_seeds(tmp_path / "a.npz")


@pytest.mark.parametrize("kept", [0, 4, 100, -30])
def test_a_truncated_archive_is_refused_by_its_name(tmp_path, kept):
    path = save(tmp_path / "a.npz", x=BYTES)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ContractError, match=r"seeds .*a.npz cannot be read: it is missing, damaged or not an .npz"):
        read_seeds(path)


def test_an_archive_that_unpacks_to_far_more_than_images_do_is_refused(tmp_path):
    """80 MB of zeros, in 80 KB."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((80, 1000, 1000), "uint8"))
    with pytest.raises(
        ContractError, match=r"seeds .*a.npz cannot be read: it unpacks from 7\d,\d+ to 80,000,\d+ bytes, which no"
    ):
        read_seeds(path)
    np.savez_compressed(path, x=np.zeros((60, 1000, 1000), "uint8"))
    assert len(read_seeds(path)) == 60


def test_an_archive_with_damaged_bytes_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, (9, 9, 9), "uint8"))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"seeds .*a.npz cannot be read"):
        read_seeds(path)


def test_a_single_array_file_and_a_missing_one_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", BYTES)
    for name in ("a.npy", "gone.npz"):
        with pytest.raises(ContractError, match=f"seeds .*{name} cannot be read: it is missing, damaged or not"):
            read_seeds(tmp_path / name)


def test_seeds_of_the_models_own_name_come_before_those_of_its_folder(tmp_path):
    model = tmp_path / "a.keras"
    assert seeds_beside(model) is None
    shared = save(tmp_path / "seeds.npz", x=BYTES)
    assert seeds_beside(model) == shared
    own = save(tmp_path / "a.seeds.npz", x=BYTES)
    assert seeds_beside(model) == own


def test_a_folder_without_a_name_has_seeds_in_it_at_most(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert seeds_beside(Path(".")) is None


@pytest.fixture
def folder(tmp_path):
    """Writes sub-folders of images, each of one grey: {name: [grey, ...]} -> folder."""
    from keras.utils import save_img

    def write(classes, side=4):
        for name, greys in classes.items():
            (tmp_path / name).mkdir()
            for number, grey in enumerate(greys):
                save_img(tmp_path / name / f"{number}.png", np.full((side, side, 3), grey, "uint8"), scale=False)
        return tmp_path

    return write


def test_names_of_folders_are_classes_in_their_order(folder):
    seeds = read_seeds(folder({"dog": [20], "cat": [10, 30], "eel": [40]}))
    assert seeds.labels.tolist() == [0, 0, 1, 2]
    assert np.rint(seeds.images[:, 0, 0, 0] * 255).tolist() == [10, 30, 20, 40]
    assert ranges(seeds) == ([0, 0, 0], [255, 255, 255])


def test_folders_named_by_numbers_are_the_labels_even_with_gaps(folder):
    seeds = read_seeds(folder({"10": [100], "2": [20], "07": [70]}))
    by_label = dict(zip(seeds.labels.tolist(), np.rint(seeds.images[:, 0, 0, 0] * 255).tolist(), strict=True))
    assert by_label == {2: 20, 7: 70, 10: 100}


def test_other_files_in_a_folder_are_passed_over(folder):
    path = folder({"0": [1], "1": [2]})
    (path / "README.txt").write_text("no image")
    (path / "0" / "notes.txt").write_text("no image")
    assert len(read_seeds(path)) == 2


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "0").mkdir()
    with pytest.raises(ContractError, match=r"has no images. Give some in it, or one sub-folder of images per class"):
        read_seeds(tmp_path)


def test_images_that_nobody_would_look_at_are_refused(folder):
    path = folder({"0": [1], "1": [2]})
    shutil.copy(path / "0" / "0.png", path / "stray.png")
    with pytest.raises(
        ContractError, match=r"has sub-folders, and 1 image that are not directly in one, such as .*str"
    ):
        read_seeds(path)
    (path / "1" / "more").mkdir()
    (path / "stray.png").rename(path / "1" / "more" / "stray.png")
    with pytest.raises(ContractError, match=r"and 1 image .* such as .*more/stray.png\. Give all images in the folder"):
        read_seeds(path)


@pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.PNG", "a", "a.dat"])
def test_images_of_any_name_are_read(name, tmp_path):
    from PIL import Image

    kind = {".webp": "WEBP", ".tif": "TIFF"}.get(Path(name).suffix, "PNG")
    Image.fromarray(np.full((4, 4, 3), 51, "uint8")).save(tmp_path / name, kind)
    assert read_seeds(tmp_path).images == pytest.approx(0.2 * np.ones((1, 4, 4, 3)), abs=0.01)


def test_an_image_of_a_kind_that_is_not_read_is_no_note(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"ftypheic")
    with pytest.raises(ContractError, match=r"a.heic cannot be read: .* Save it as PNG, or give an .npz"):
        read_seeds(tmp_path)


def test_postscript_that_is_called_an_image_is_not_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n%%EOF\n")
    with pytest.raises(ContractError, match="cannot be read: cannot identify image"):
        read_seeds(tmp_path)


def test_an_image_of_several_frames_is_refused(tmp_path):
    from PIL import Image

    first, second = (Image.fromarray(np.full((4, 4), grey, "uint8")) for grey in (10, 200))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(ContractError, match=r"a.tif has 2 frames. Save each as an image of its own."):
        read_seeds(tmp_path)


def test_a_damaged_image_is_refused(folder):
    path = folder({"0": [1]})
    (path / "0" / "x.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(ContractError, match=r"the image .* cannot be read: cannot identify image"):
        read_seeds(path)


def test_images_of_two_shapes_are_refused(folder, tmp_path):
    from keras.utils import save_img

    path = folder({"0": [1]})
    save_img(path / "0" / "wide.png", np.zeros((4, 8, 3)), scale=False)
    with pytest.raises(ContractError, match=r"differ in shape: \[\(4, 4, 3\), \(4, 8, 3\)\]. Give images of one shape"):
        read_seeds(path)


def test_seeds_know_their_number():
    assert len(Seeds(np.zeros((3, 2, 2, 1)), None, np.zeros(1), np.ones(1))) == 3


def test_images_in_a_folder_without_sub_folders_have_no_labels(folder, tmp_path):
    from keras.utils import save_img

    save_img(tmp_path / "b.png", np.full((4, 4, 3), 20, "uint8"), scale=False)
    save_img(tmp_path / "a.png", np.full((4, 4, 3), 10, "uint8"), scale=False)
    seeds = read_seeds(folder({}))
    assert (seeds.labels, seeds.names) == (None, ("a", "b"))
    assert np.rint(seeds.images[:, 0, 0, 0] * 255).tolist() == [10, 20]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
def test_other_images_are_taken_in_the_scale_of_the_seeds(low, high):
    unit = np.linspace(0, 1, 8).reshape(2, 2, 2, 1)
    seeds = as_seeds(low + (high - low) * unit)
    grey = in_scale_of(seeds, [low + (high - low) * image / 2 for image in unit])
    assert grey.images == pytest.approx(unit / 2, abs=1e-5)
    assert grey.low == pytest.approx(low)


def test_files_of_images_say_themselves_what_white_is(folder):
    found = in_scale_of(as_seeds(np.linspace(0, 1, 48).reshape(1, 4, 4, 3)), folder({"0": [51]}))
    assert found.images == pytest.approx(0.2 * np.ones((1, 4, 4, 3)))


@pytest.mark.parametrize(("seeds", "others"), [(np.eye(2)[None] * 255, np.eye(2)[None]), (np.eye(2)[None], BYTES)])
def test_images_that_cannot_be_in_the_scale_of_the_seeds_are_refused(seeds, others):
    with pytest.raises(ContractError, match=r"and the seeds' black and white are .* Give both in one scale"):
        in_scale_of(as_seeds(seeds), others)


@pytest.mark.parametrize(
    "labels",
    [np.zeros((2, 0)), [["0", "1"], ["1", "0"]], [[np.nan, 1.0], [1.0, 0.0]], [1e30, 0.0], np.zeros((2, 2, 1))],
    ids=["none", "text", "NaN", "huge", "cube"],
)
def test_labels_that_are_none_are_refused(labels):
    with pytest.raises(ContractError, match=r"^labels h"):
        as_seeds((BYTES, labels))


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 0, 1], [0, 2, 0], [-1, 1, 1]])
def test_rows_that_name_no_class_or_several_are_refused(row):
    with pytest.raises(ContractError, match=r"1 of them do not name one class by a 1 .* row 1 with .* Give the class"):
        as_seeds((BYTES, [[0, 1, 0], row]))


def test_labels_of_a_table_are_numbers():
    assert as_seeds((BYTES, np.array([1, 0], object))).labels.tolist() == [1, 0]


def test_images_of_yes_and_no_are_black_and_white():
    assert as_seeds(BYTES.mean() < BYTES).images.max() == 1


def test_one_hot_labels_of_yes_and_no_are_classes():
    assert as_seeds((BYTES, np.array([[False, True], [True, False]]))).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}\n", b"{'descr': \n"],
    ids=["more than there is", "broken"],
)
def test_an_archive_whose_header_lies_is_refused(header, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ContractError, match=r"seeds .*a.npz cannot be read: "):
        read_seeds(tmp_path / "a.npz")


def test_folders_that_a_notebook_or_a_desktop_left_are_no_classes(folder):
    path = folder({"0": [1], "2": [1], "10": [1]})
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (path / name).mkdir()
    assert sorted(read_seeds(path).labels) == [0, 2, 10]


def test_an_image_of_more_than_eight_bits_is_refused_and_not_clipped(tmp_path):
    from PIL import Image

    Image.fromarray(np.arange(16, dtype="uint16").reshape(4, 4) * 4000).save(tmp_path / "deep.png")
    with pytest.raises(ContractError, match=r"deep.png has more than 8 bits \(mode I;16\)"):
        read_seeds(tmp_path)
