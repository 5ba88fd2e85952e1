"""How long the search takes: against bare gradients of the model, and as a whole scan. Nothing here fails on time."""

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pytest
from keras import ops

from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.contract import check
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.scan import scan
from pytest_backdoor.search import optimiser
from pytest_backdoor.search.arms import Pool, draw
from pytest_backdoor.search.inversion import Settings, patch_arms
from pytest_backdoor.seeds import read_seeds
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers import FAMILIES

EXAMPLES = Path(__file__).parents[2] / "example_models"
STEPS = 10  # per round


@pytest.fixture(scope="module")
def contract():
    """A LeNet-sized clean model with its seeds."""
    model = classifier(keras_file.load(EXAMPLES / "mnist_clean.keras"), "mnist_clean")
    return check(model, read_seeds(EXAMPLES / "mnist_clean.seeds.npz"), 0.5, np.random.default_rng(0))


@pytest.fixture(params=["patch", "additive"])
def search(contract, request):
    """Runs steps of the universal search, batches drawn anew as the search does: -> images per step."""
    family, rng = FAMILIES[request.param], np.random.default_rng(0)
    subject, seeds = contract.subject, contract.search
    arms, pool = patch_arms(range(subject.num_classes), Settings()), Pool.of(seeds.labels, subject.num_classes)
    step = optimiser.compile_step(subject, family)
    state, shown = optimiser.begin(arms, family, subject.image_shape, rng), ops.convert_to_tensor(seeds.images)

    def run():
        nonlocal state
        for _ in range(STEPS):
            batch = draw(arms, pool, rng)
            state = step(state, batch, shown)
        ops.convert_to_numpy(state.best_size)  # waits for the last step
        return len(batch.image)

    return run


@pytest.fixture
def gradients(contract, search):
    """As many gradients of summed logits with respect to as many images, and nothing else."""
    subject, size = contract.subject, search()
    images = ops.convert_to_tensor(np.resize(contract.search.images, (size, *subject.image_shape)))
    evaluate = compiled(value_and_grad(lambda given: (ops.sum(subject.logits(given)), None)))

    def run():
        for _ in range(STEPS):
            _, slope = evaluate(images)
        return ops.convert_to_numpy(slope)

    return run


def test_a_step_against_a_bare_gradient_evaluation(benchmark, search, gradients, capsys):
    bare = []

    def alternate():
        begun = perf_counter()
        gradients()
        bare.append(perf_counter() - begun)

    # The bare gradients run before each round of steps, so that a busy machine slows both alike.
    benchmark.pedantic(search, setup=alternate, rounds=30, warmup_rounds=3)
    step, gradient = median(benchmark.stats.stats.data) / STEPS, median(bare[3:]) / STEPS
    benchmark.extra_info |= {"step": step, "gradient": gradient, "ratio": step / gradient}
    with capsys.disabled():
        print(f"\nstep {1e3 * step:.2f} ms, gradients {1e3 * gradient:.2f} ms, ratio {step / gradient:.2f} (goal: 1.5)")


@pytest.mark.parametrize("name", ["mnist_clean", "mnist_pixel_to_one"])
def test_a_whole_scan(benchmark, name, capsys):
    result = benchmark.pedantic(scan, args=(EXAMPLES / f"{name}.keras", None, Options()), rounds=1)
    benchmark.extra_info |= {"verdict": result.verdict, "image_gradients": result.image_gradients}
    with capsys.disabled():
        print(f"\nscan of {name}: {result.verdict} in {result.seconds:.1f} s (goal: median under 45 s on 2 cores)")
