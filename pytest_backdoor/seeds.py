"""Seeds: clean images with or without labels, from arrays, an .npz or a folder of images, in one unit scale."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import values
from pytest_backdoor.errors import ContractError

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .jxl .pgm .png .ppm .tif .tiff .webp".split()
)
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow knows others that run other programs
MOST_CLASSES = 1e9
SMALL = 64 << 20  # bytes that any .npz may unpack to
EXPANSION = 100  # times its own size that a larger one may; images shrink to a twentieth at best
ROUNDED = 1e-3  # of the largest value, that a value may lie beyond black or white
FAINT = 16  # fractions between 1 and this are no bytes: images twice as bright as white, or standardised ones
NAMES, NAME = 5, 40  # arrays of another .npz that are named, and characters of each
SHAPES = "(n, height, width, channels) or (n, height, width)"
WANTED = f"Give images {SHAPES}, and labels (n,) if there are any"
PACKED = f"Give an .npz with x {SHAPES} and optionally y (n,)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Seeds:
    """Clean images ``(n, height, width, channels)`` float32 from 0 to 1, and labels ``(n,)`` or None.

    ``low`` and ``high`` are what 0 and 1 stand for in the file: 0 and 255 for uint8, 0 and 1, -1 and 1, or, for
    images that were standardised already, the extremes of each channel.
    """

    images: np.ndarray
    labels: np.ndarray | None
    low: np.ndarray
    high: np.ndarray
    names: tuple[str, ...] | None = None  # of the images' files, without suffix

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape[1:]))
        classes = 0 if self.labels is None else len(np.unique(self.labels))
        known = f"{classes} class{'es' * (classes > 1)}" if classes else "unlabelled"
        return f"<{len(self)} seeds of {size}, {known}>"  # a failing test shows its fixtures


def as_seeds(given: Any) -> Seeds:
    """Seeds from a path, an array of images, an (images, labels) pair, or Seeds; raises ContractError otherwise."""
    if isinstance(given, Seeds):
        return given
    if isinstance(given, str | Path):
        return read_seeds(given)
    if isinstance(given, tuple | list) and len(given) == 2:
        return from_arrays(given[0], given[1])
    return from_arrays(given, None)


def in_scale_of(seeds: Seeds, given: Any) -> Seeds:
    """Other images, from a path, an array or Seeds, brought to unit scale as the seeds were.

    Files of images say themselves what white is; arrays are in the scale of the seeds. Raises ContractError where they
    cannot be.
    """
    own = _as_images(given)
    if own.names is not None:
        return own
    raw = own.low + own.images * (own.high - own.low)
    unit = (raw - seeds.low) / (seeds.high - seeds.low)
    if unit.min() < -1 or unit.max() > 2 or 0 < unit.max() <= 1 / 255:
        raise ContractError(
            f"the images run from {raw.min():g} to {raw.max():g}, and the seeds' black and white are "
            f"{seeds.low.min():g} and {seeds.high.max():g}. Give both in one scale."
        )
    return replace(own, images=unit.astype("float32"), low=seeds.low, high=seeds.high)


def _as_images(given: Any) -> Seeds:
    """As ``as_seeds``, but two images in a list are two images."""
    if isinstance(given, str | Path):
        return read_seeds(given, "images")
    return given if isinstance(given, Seeds) else from_arrays(given, None, "the images")


def seeds_beside(model: Path) -> Path | None:
    """``<model>.seeds.npz`` beside the model, else ``seeds.npz`` in its folder, else None."""
    return next((path for path in values.seeds_names(model) if path.is_file()), None)


def seeds_or_beside(model: Any, given: Any, named: Any) -> Any:
    """The seeds that were given, else the named ones, else those beside the model if it is a file, else None."""
    if given is None:
        given = named or (seeds_beside(Path(model)) if isinstance(model, str | Path) else None)
    return given


def read_seeds(path: Path | str, what: str = "seeds") -> Seeds:
    """Seeds from an ``.npz`` or from a folder of images, with labels if there is one sub-folder per class.

    Raises ContractError, which calls them so, for what is neither.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    try:
        refuse_other(path)
        with np.load(path, allow_pickle=False) as stored:
            if "x" not in stored.files:
                names = ", ".join(ascii(name)[1:-1][:NAME] for name in stored.files[:NAMES]) or "nothing"
                raise ContractError(f"{what} {path} hold {names} and no x. {PACKED}.")
            return from_arrays(stored["x"], stored["y"] if "y" in stored.files else None, what)
    except ContractError:
        raise
    except Exception as problem:  # each way of packing, and each broken header, has errors of its own
        raise ContractError(f"{what} {path} cannot be read: {_said(problem)}. {PACKED}.") from problem


def refuse_other(path: Path | str) -> None:
    """Raises ValueError for what is no .npz, or unpacks to far more than images or a trigger would."""
    if other := values.other_than_file(path):
        raise ValueError(f"it is {other}, not a file")
    if not zipfile.is_zipfile(path):  # NumPy reads other files too, and says little of a damaged one
        raise ValueError("it is missing, damaged or not an .npz")
    stored = Path(path).stat().st_size
    with zipfile.ZipFile(path) as file:
        unpacked = sum(member.file_size for member in file.infolist())
    if unpacked > SMALL + EXPANSION * stored:
        raise ValueError(f"it unpacks from {stored:,} to {unpacked:,} bytes, which no images do")


def from_arrays(images: Any, labels: Any | None, what: str = "seeds") -> Seeds:
    """Seeds from arrays, brought to unit scale; raises ContractError, which calls them so, for what are not images."""
    images = _array(images, what)
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4):
        raise ContractError(f"{what} have shape {images.shape} and type {images.dtype}. {WANTED}.")
    images = images[..., None] if images.ndim == 3 else images
    if not images.size:
        raise ContractError(f"{what} are empty: shape {images.shape}. {WANTED}.")
    if not np.isfinite(images).all():
        raise ContractError(f"{what} hold NaN or infinite values. Give finite images.")
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = value_range(images)
        told_apart = np.isfinite(high - low) & (high > low)
    if not told_apart.all():
        raise ContractError(f"{what} run from {images.min():g} to {images.max():g}, too far for images. {WANTED}.")
    unit = images - low  # one copy, for there may be a whole training set of them
    np.divide(unit, high - low, out=unit)
    np.clip(unit, 0.0, 1.0, out=unit)
    return Seeds(unit.astype("float32", copy=False), _checked_labels(labels, len(images)), low, high)


def value_range(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What black and white are in these images, one value per channel."""
    channels = np.ones(images.shape[-1], "float32")
    least, most = float(images.min()), float(images.max())
    if least >= 0 and images.dtype.kind in "ui" and most > 1:
        return 0 * channels, max(255.0, most) * channels
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        rounded = ROUNDED * high  # resizing goes a little beyond black and white
        if low - rounded <= least and most <= high + rounded and (high < 255 or most > FAINT):
            return low * channels, high * channels
    each = (0, 1, 2)
    low, high = images.min(each).astype("float32"), images.max(each).astype("float32")
    return low, np.where(high > low, high, low + 1).astype("float32")


def _checked_labels(labels: Any | None, count: int) -> np.ndarray | None:
    """Labels as integers ``(n,)``, from numbers or from one-hot rows."""
    if labels is None:
        return None
    labels = _array(labels, "labels")
    labels = _array(labels.tolist(), "labels") if labels.dtype.kind == "O" else labels  # of a table, perhaps
    fits = labels.shape in {(count,), (count, *labels.shape[1:2])} and labels.size > 0
    if not fits or labels.dtype.kind not in "buif":
        raise ContractError(f"labels have shape {labels.shape} and type {labels.dtype} for {count} images. {WANTED}.")
    if not (np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < MOST_CLASSES)).all():
        raise ContractError("labels hold values that are no whole numbers. Give the class of each image, from 0.")
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else _classes_of_rows(labels)
    return labels.astype("int64")


def _classes_of_rows(rows: np.ndarray) -> np.ndarray:
    """The class of each one-hot row; raises ContractError for a row of no class, of several, or of other numbers."""
    wrong = np.flatnonzero((rows.astype(bool).sum(1) != 1) | (rows.sum(1) != 1))
    if len(wrong):
        raise ContractError(
            f"labels are rows, but {len(wrong)} of them do not name one class by a 1 among zeros. Received: row "
            f"{wrong[0]} with {rows[wrong[0]].tolist()[:20]}. Give the class of each image, and only labelled images."
        )
    return np.asarray(rows.argmax(-1))


def _array(given: Any, what: str) -> np.ndarray:
    """The array of anything that NumPy can make one of; raises ContractError for rows of different lengths."""
    try:
        return np.asarray(given)
    except ValueError as problem:
        raise ContractError(f"{what} are no array: {str(problem).rstrip('.')}. {WANTED}.") from problem


def _read_folder(folder: Path) -> Seeds:
    """One sub-folder per class: a number is the label itself, other names are counted in sorted order.

    Without sub-folders the images have no labels. Raises ContractError for images that have no place in that.
    """
    classes = sorted(path for path in folder.iterdir() if _is_class(path))
    numbered = all(path.name.isdecimal() for path in classes)
    labels = [int(path.name) for path in classes] if numbered else range(len(classes))
    files = [(file, label) for label, path in zip(labels, classes, strict=True) for file in _images_in(path)]
    _refuse_misplaced(folder, classes)
    if not classes:
        files = [(file, 0) for file in _images_in(folder)]
    if not files:
        raise ContractError(f"folder {folder} has no images. Give some in it, or one sub-folder of images per class.")
    images = [_read_image(file) for file, _ in files]  # one at a time: each is its own file
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise ContractError(f"images under {folder} differ in shape: {sorted(shapes)[:3]}. Give images of one shape.")
    known = np.array([label for _, label in files]) if classes else None
    seeds = from_arrays(np.stack(images), known)
    return replace(seeds, names=tuple(file.stem for file, _ in files))


def _refuse_misplaced(folder: Path, classes: list[Path]) -> None:
    """Raises ContractError for images beside the sub-folders or deeper than in them: nobody would look at them."""
    deeper = [path for each in classes for path in each.iterdir() if _is_class(path)]
    left = _images_in(folder) if classes else []
    left += [file for path in deeper for file in sorted(path.rglob("*")) if _is_image(file)]
    if left:
        raise ContractError(
            f"folder {folder} has sub-folders, and {len(left)} image{'s' * (len(left) > 1)} that are not directly in "
            f"one, such as {left[0]}. Give all images in the folder itself, or one sub-folder of images per class."
        )


def _is_class(path: Path) -> bool:
    """Whether a sub-folder is one of a class, and not what a desktop or a notebook left there."""
    return path.is_dir() and not path.name.startswith((".", "__"))


def _read_image(file: Path) -> np.ndarray:
    """The image as RGB bytes; raises ContractError."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as opened:
            mode, frames = opened.mode, 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
            image = np.array(opened.convert("RGB"))
    except Exception as problem:  # the reader of each format has errors of its own
        raise ContractError(
            f"the image {file} cannot be read: {_said(problem)}. Save it as PNG, or give an .npz."
        ) from problem
    if mode.startswith(("I", "F")):
        raise ContractError(f"the image {file} has more than 8 bits (mode {mode}). Save it with 8, or give an .npz.")
    if frames > 1:
        raise ContractError(f"the image {file} has {frames} frames. Save each as an image of its own.")
    return image


def _said(problem: Exception) -> str:
    return str(problem) or type(problem).__name__


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_image(path))


def _is_image(file: Path) -> bool:
    """Whether a file is an image by its name, or by its content where the name says nothing."""
    if file.name.startswith(".") or not file.is_file():
        return False
    return file.suffix.lower() in IMAGE_SUFFIXES or _looks_like_one(file)


def _looks_like_one(file: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS):
            return True
    except Exception:  # each format has errors of its own for what is none
        return False
