"""What an HDF5 file must not hold, whether it is the model file or the weights inside a .keras file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pytest_backdoor.errors import UnreadableModelError, UnsafeModelError
from pytest_backdoor.loading.hdf5_walk import count_elements
from pytest_backdoor.loading.safety import check

EditH5 = Callable[[Callable[[h5py.File], None]], Path]


def external_link(file: h5py.File) -> None:
    file["evil"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: h5py.File) -> None:
    file["evil"] = h5py.SoftLink("/somewhere")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("evil", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/somewhere/else.h5", "x", (4,))
    file.create_virtual_dataset("evil", layout)


def foreign_filter(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((4,))
    creation.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_OPTIONAL)
    h5py.h5d.create(file.id, b"evil", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), creation)


def never_written(file: h5py.File) -> None:
    file.create_dataset("evil", (10_000, 10_000), "f4", chunks=(100, 100))


def squeezed(file: h5py.File) -> None:
    file.create_dataset("evil", data=np.zeros(4_000_000, "f4"), compression="gzip")


def giant_chunk(file: h5py.File) -> None:
    file.create_dataset("evil", data=np.zeros(3, "f4"), maxshape=(None,), chunks=(1_000_000,), compression="gzip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "the HDF5 entry '/evil' is a link to another file. Received: '/etc/passwd'."),
        (soft_link, "the HDF5 entry '/evil' is a symbolic link, which Keras never writes. Received: '/somewhere'."),
        (
            external_storage,
            "the HDF5 dataset '/evil' keeps its numbers in another file. Received: an external dataset.",
        ),
        (virtual_dataset, "the HDF5 dataset '/evil' keeps its numbers in another file. Received: a virtual dataset."),
        (foreign_filter, "the HDF5 dataset '/evil' needs a filter that is loaded from outside. Received: filter 5."),
        (never_written, "the HDF5 dataset '/evil' declares 400,000,000 bytes but stores 0;"),
        (giant_chunk, "the HDF5 dataset '/evil' declares 4,000,000 bytes but stores"),
        (squeezed, "the HDF5 dataset '/evil' declares 16,000,000 bytes but stores"),
    ],
)
@pytest.mark.parametrize("container", ["edited_h5", "edited_weights"])
def test_what_reaches_outside_the_file_or_exceeds_it_is_refused(
    change: Callable[[h5py.File], None], message: str, container: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(container)(change)
    with pytest.raises(UnsafeModelError) as caught:
        check(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("Save the model again with Keras.")


@pytest.mark.parametrize(
    "data", [np.array([b"text"]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])], ids=["text", "records"]
)
def test_a_dataset_that_does_not_hold_numbers_is_unreadable(data: np.ndarray, edited_h5: EditH5) -> None:
    path = edited_h5(lambda file: file.create_dataset("odd", data=data))
    with pytest.raises(UnreadableModelError, match="the HDF5 dataset '/odd' does not hold numbers"):
        check(path)


def test_a_named_type_is_not_mistaken_for_a_dataset(edited_h5: EditH5) -> None:
    check(edited_h5(lambda file: file.__setitem__("type", np.dtype("f4"))))


def test_a_link_deep_in_a_group_is_named_by_its_place(edited_h5: EditH5) -> None:
    path = edited_h5(lambda file: file["model_weights/conv"].__setitem__("x", h5py.SoftLink("/")))
    with pytest.raises(UnsafeModelError, match=r"the HDF5 entry '/model_weights/conv/x' is a symbolic link"):
        check(path)


def test_compressed_weights_pass(edited_h5: EditH5) -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    check(edited_h5(lambda file: file.create_dataset("more", data=numbers, **filters)))
    check(edited_h5(lambda file: file.create_dataset("more", data=numbers, compression="lzf")))


def test_every_number_is_counted_once_though_it_has_many_names_and_groups_form_a_cycle() -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        file["a/x"] = np.zeros((3, 4))
        file["a/y"] = np.float32(1)  # a scalar is one number
        file["a/nothing"] = h5py.Empty("f4")
        file["b/x"] = file["a/x"]
        file["b/back"] = file["a"]
        file["a/root"] = file["/"]
        assert count_elements(file) == 13
