"""Activation difference by hand, and which neurons carry a trigger."""

import numpy as np
import pytest

from pytest_backdoor.attacks import pixel
from pytest_backdoor.confirm.activation import Difference, carriers, heat, measure
from pytest_backdoor.results import Carrier
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger
from tests.search.test_coverage import small_network
from tests.tiny import AS_IS, subject_of

BLACK = np.zeros((3, 2, 2, 1), "float32")


def test_the_heat_map_shows_where_the_trigger_fires_a_channel():
    copies, sums = measure(small_network(), pixel((2, 2, 1), 0, 1), BLACK)
    assert (copies.layer, sums.layer) == ("copies", "sums")
    assert copies.heat[..., 0].tolist() == [[0, 1], [0, 0]]
    assert copies.neurons.tolist() == [0.25, 0]
    assert sums.neurons.tolist() == [0, 0]


def test_carriers_are_the_neurons_of_all_layers_that_differ_most():
    found = [Difference("a", np.array([[0.2, 0.0], [0.4, 0.0]])), Difference("b", np.array([0.1, 0.9]))]
    strongest, second = carriers(found, 2)
    assert strongest == Carrier("b", 1, 0.9)
    assert (second.layer, second.neuron, second.difference) == ("a", 0, pytest.approx(0.3))
    assert len(carriers(found, 10)) == 3  # one does not differ


def test_heat_maps_are_means_over_channels_and_over_blocks_of_large_layers():
    small = np.array([[[0.2, 0.4], [0.0, 1.0]]])
    large = np.repeat(np.repeat(np.arange(256).reshape(16, 16, 1) / 256, 3, 0), 2, 1)
    found = heat([Difference("a", small), Difference("b", large), Difference("flat", np.ones(3))])
    assert [each.layer for each in found] == ["a", "b"]
    assert np.array(found[0].places) == pytest.approx(np.array([[0.3, 0.5]]))
    assert np.array(found[1].places) == pytest.approx(np.arange(256).reshape(16, 16) / 256, abs=1e-4)


def test_a_trigger_that_changes_nothing_has_no_carriers():
    nothing = Trigger("additive", {"delta": np.zeros((2, 2, 1), "float32")})
    assert carriers(measure(small_network(), nothing, BLACK), 10) == ()


def test_a_black_box_has_no_layers_to_compare():
    subject = Subject("function", (2, 2, 1), 2, AS_IS, lambda images: images, gradients=False)
    assert measure(subject, pixel((2, 2, 1), 0, 1), BLACK) == ()


def test_a_planted_trigger_fires_more_than_an_untaught_one(example, planted):
    model, images, _ = example("mnist_pattern_to_one")
    clean, _, _ = example("mnist_clean")
    images = images[..., None].astype("float32") / 255

    def strongest(network):
        hidden = [each for each in measure(subject_of(network, (28, 28, 1)), planted, images) if each.heat.ndim == 1]
        return carriers(hidden, 1)[0].difference

    assert strongest(model) > 2 * strongest(clean)
