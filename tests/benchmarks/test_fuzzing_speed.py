"""How many images fuzzing mutates per second, against a loop over images and against bare gradients. No limit here."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter

import keras
import numpy as np
import pytest
from keras import ops

from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.contract import check
from pytest_backdoor.loading import keras_file
from pytest_backdoor.search.fuzzing import Settings, fuzz
from pytest_backdoor.seeds import read_seeds
from pytest_backdoor.subject import classifier

EXAMPLES = Path(__file__).parents[2] / "example_models"
SEEDS = 50
FEW = 2  # seeds of the slow loop
DEFAULTS = Settings()


@pytest.fixture(scope="module")
def model():
    """A LeNet-1."""
    return keras_file.load(EXAMPLES / "mnist_pixel_to_one.keras")


@pytest.fixture(scope="module")
def contract(model):
    """The same with its seeds."""
    seeds = read_seeds(EXAMPLES / "mnist_pixel_to_one.seeds.npz")
    return check(classifier(model, "lenet1"), seeds, 0.5, np.random.default_rng(0))


@pytest.fixture
def images(contract):
    """Fifty seeds."""
    every = np.concatenate([contract.search.images, contract.held_out.images])
    return np.random.default_rng(0).permutation(every)[:SEEDS]


def one_at_a_time(model, images):
    """DLFuzz as the original works: a prediction, a gradient, and a model of each layer's output for every mutation."""
    layers = [
        layer for layer in model.layers if (layer.name not in ("flatten",) and layer.weights) or "pool" in layer.name
    ]
    mutated = 0
    for image in images:
        given = image[None]
        best = np.argsort(-model.predict(given, verbose=0)[0])[:5]

        def objective(x, best=best):
            answers = model(x)[0]
            pushed = sum(answers[label] for label in best[1:])
            neurons = sum(ops.mean(keras.Model(model.inputs, layer.output)(x)[..., 0]) for layer in layers)
            return 0.5 * pushed - answers[best[0]] + 0.5 * neurons, ()

        evaluate = value_and_grad(objective)
        for _ in range(DEFAULTS.iterations):
            _, gradient = evaluate(ops.convert_to_tensor(given))
            slope = ops.convert_to_numpy(gradient)
            given = np.clip(given + DEFAULTS.step * slope / (np.sqrt(np.mean(slope**2)) + 1e-5), 0, 1)
            for layer in layers:
                answer = keras.Model(model.inputs, layer.output).predict(given, verbose=0)[0]
                (answer - answer.min()) / max(np.ptp(answer), 1e-12)
            model.predict(given, verbose=0)
            mutated += 1
    return mutated


def per_second(function):
    """What the function counts, per second."""
    begun = perf_counter()
    return function() / (perf_counter() - begun)


@pytest.mark.parametrize("iterations", [5, 50])  # DLFuzz's on MNIST, and those of its longest published runs
def test_mutated_images_against_a_loop_and_bare_gradients(benchmark, model, contract, images, iterations, capsys):
    subject, settings = contract.subject, replace(DEFAULTS, iterations=iterations)
    evaluate = compiled(value_and_grad(lambda given: (ops.sum(subject.logits(given)[:, 0]), None)))
    shown = ops.convert_to_tensor(images)

    def run():
        return len(fuzz(subject, images, settings, np.random.default_rng(0)).seed)

    def bare():
        for _ in range(iterations):
            ops.convert_to_numpy(evaluate(shown)[1])
        return iterations * len(images)

    run(), bare()
    ratios = sorted(per_second(run) / per_second(bare) for _ in range(15))
    slow = per_second(lambda: one_at_a_time(model, images[:FEW]))
    mutated = benchmark.pedantic(run, rounds=15)
    fast = mutated / benchmark.stats.stats.median
    bare_share = ratios[len(ratios) // 2]
    benchmark.extra_info |= {"per_second": fast, "of_bare_gradients": bare_share, "times_the_loop": fast / slow}
    with capsys.disabled():
        print(f"\n{iterations} iterations: {fast:,.0f} mutated images per second")
        print(
            f"of bare gradients {bare_share:.0%} (goal: 80 %), {fast / slow:,.0f} times a loop over images (goal: 500)"
        )
