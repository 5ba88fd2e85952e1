"""The pruning study: the square that is planted, models that are made once, and the picture."""

import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
from keras import layers

from example_models.pruning_study import Defended, kept, lines, picture, yellow_square
from pytest_backdoor.check_results import Pruning

CURVE = Pruning("conv", "channels", (1, 0), (0, 1, 2), (0.9, 0.8, 0.1), (1.0, 0.5, 0.0), 40)
SVG = "{http://www.w3.org/2000/svg}"


def test_the_square_is_four_yellow_pixels_wide_and_touches_nothing_else():
    stamped = yellow_square((32, 32, 3)).apply(np.zeros((1, 32, 32, 3), "float32"))[0]
    assert np.argwhere(stamped[..., 0]).tolist() == [[row, column] for row in range(24, 28) for column in range(16, 20)]
    assert stamped[24, 16].tolist() == [1, 1, 0]


def test_a_model_is_made_once_and_then_read(tmp_path):
    made = []

    def make():
        made.append(1)
        return keras.Sequential([keras.Input((2,)), layers.Dense(1)])

    first, second = kept(tmp_path / "m.keras", make), kept(tmp_path / "m.keras", make)
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    assert np.array_equal(first.get_weights()[0], second.get_weights()[0])


def test_the_picture_has_both_curves_of_each_model_in_percent():
    assert [line.values.tolist() for line in lines(CURVE)] == [[90, 80, 10], [100, 50, 0]]
    root = ElementTree.fromstring(picture({"plain": Defended(CURVE, 1, {}), "pruning-aware": Defended(CURVE, 1, {})}))
    assert root.get("viewBox") == "0 0 720 250"
    charts = root.findall(f"{SVG}svg")
    assert [chart.get("x") for chart in charts] == ["0", "360"]
    assert [line.get("class") for line in charts[0].findall(f"{SVG}polyline")] == ["accuracy", "success"]
