"""Walks an HDF5 file's structure, reading no weights, and refuses what reaches outside the file or exceeds it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import h5py

from pytest_backdoor.errors import UnreadableModelError, UnsafeModelError

FILTERS = {  # the ones that come with h5py: any other makes HDF5 look for a plugin library to run
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
EXPANSION = 100  # Keras stores weights uncompressed
SMALL = 4096  # bytes that any dataset may declare: one never written is all fill value
AGAIN = "Save the model again with Keras."


def count_elements(file: h5py.File) -> int:
    """The numbers stored in the file's datasets, each counted once however many names it has."""
    return sum(_elements(item) for item in objects(file) if isinstance(item, h5py.Dataset))


def objects(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """Every group and dataset once: hard links can form cycles."""
    seen = {h5py.h5o.get_info(file.id).addr}
    waiting = [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            _refuse_link(group, name)
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)


def _refuse_link(group: h5py.Group, name: str) -> None:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise UnsafeModelError(
            f"the HDF5 entry {_place(group, name)} is a link to another file. Received: {link.filename!r}. {AGAIN}"
        )
    if isinstance(link, h5py.SoftLink):
        raise UnsafeModelError(
            f"the HDF5 entry {_place(group, name)} is a symbolic link, which Keras never writes. Received: "
            f"{link.path!r}. {AGAIN}"
        )


def _elements(dataset: h5py.Dataset) -> int:
    # In this order: asking a virtual dataset for its shape can already open the files that it is made of.
    if dataset.is_virtual or dataset.external:
        raise UnsafeModelError(
            f"the HDF5 dataset {dataset.name!r} keeps its numbers in another file. Received: "
            f"{'a virtual' if dataset.is_virtual else 'an external'} dataset. {AGAIN}"
        )
    _refuse_filters(dataset)
    if dataset.dtype.kind not in "biufV" or dataset.dtype.names:  # V: how bfloat16 is stored
        raise UnreadableModelError(
            f"the HDF5 dataset {dataset.name!r} does not hold numbers. Received: {dataset.dtype}. {AGAIN}"
        )
    elements = int(dataset.size or 0)  # None: an empty dataset
    largest = max(elements, math.prod(dataset.chunks or (0,)))  # a chunk is unpacked whole, however little is used
    declared, stored = largest * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if declared > max(SMALL, EXPANSION * stored):
        raise UnsafeModelError(
            f"the HDF5 dataset {dataset.name!r} declares {declared:,} bytes but stores {stored:,}; loading it could "
            f"exhaust the memory. {AGAIN}"
        )
    return elements


def _refuse_filters(dataset: h5py.Dataset) -> None:
    creation = dataset.id.get_create_plist()
    codes = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
    if codes - FILTERS:
        raise UnsafeModelError(
            f"the HDF5 dataset {dataset.name!r} needs a filter that is loaded from outside. Received: filter "
            f"{', '.join(map(str, sorted(codes - FILTERS)))}. {AGAIN}"
        )


def _place(item: h5py.Group | h5py.Dataset, name: str) -> str:
    return repr(f"{str(item.name).rstrip('/')}/{name}")
