"""Model files to load: honest ones that Keras saved, and the same ones with a part replaced."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tests.loading.model_files import Edit, changed, read_config, repacked, save


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier with the usual layers, compiled, as ``plain.keras`` and ``plain.h5``."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", name="conv"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(6, 3, depthwise_initializer="he_normal"),
            layers.LeakyReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="plain",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save(model, tmp_path_factory.mktemp("models") / "plain.keras")


@pytest.fixture(scope="session")
def branched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A functional model with operations, a nested model and mixed precision; .h5 cannot hold it."""
    import keras
    from keras import layers, ops

    image = keras.Input((8, 8, 3))
    features = layers.Conv2D(3, 3, padding="same", activation=keras.activations.relu6)(image)
    features = ops.relu(features + image)[:, 1:] * 2.0
    features = ops.mean(ops.cast(features, "float32"), axis=(1, 2))
    nested = keras.Sequential([keras.Input((3,)), layers.Dense(4)], name="nested")
    nested.compile("sgd", "mse", metrics=["accuracy"])
    scores = layers.Dense(2, dtype="mixed_float16")(nested(features))
    path = tmp_path_factory.mktemp("models") / "branched.keras"
    keras.Model(image, scores).save(path)
    return path


@pytest.fixture(scope="session")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of layers that hold other layers: wrappers, cells and attention."""
    import keras
    from keras import layers

    steps = keras.Input((4, 6))
    features = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(steps)
    features = layers.TimeDistributed(layers.Dense(4, activation="tanh"), name="each_step")(features)
    features = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(features)
    features = layers.SpectralNormalization(layers.Conv1D(3, 2, activation=layers.LeakyReLU()))(features)
    features = layers.MultiHeadAttention(2, 3)(features, features)
    features = layers.LayerNormalization()(layers.EinsumDense("abc,cd->abd", (None, 5))(features))
    scores = layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.PReLU(shared_axes=[1])(features)))
    return save(keras.Model(steps, scores), tmp_path_factory.mktemp("models") / "wrapped.keras")


@pytest.fixture
def edited(plain: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """Writes ``edited.keras``: the plain model after its configuration was changed in place."""

    def edit(change: Edit) -> Path:
        return repacked(plain, tmp_path / "edited.keras", {"config.json": changed(read_config(plain), change)})

    return edit


@pytest.fixture
def edited_h5(plain: Path, tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Writes ``edited.h5``: the plain model's .h5 file after it was changed in place."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        path = tmp_path / "edited.h5"
        shutil.copy(plain.with_suffix(".h5"), path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return edit


@pytest.fixture
def repack(plain: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes ``repacked.keras``: the plain model's archive with members replaced or, given None, left out."""
    return lambda members, **kind: repacked(plain, tmp_path / "repacked.keras", members, **kind)


@pytest.fixture
def edited_weights(plain: Path, tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Writes ``weights.keras``: the plain model after its embedded weights file was changed in place."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        weights = io.BytesIO(zipfile.ZipFile(plain).read("model.weights.h5"))
        with h5py.File(weights, "r+") as file:
            change(file)
        return repacked(plain, tmp_path / "weights.keras", {"model.weights.h5": weights.getvalue()})

    return edit


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of a property test, which each example overwrites."""
    return tmp_path_factory.mktemp("scratch")
