"""Pruning against a plain and a pruning-aware backdoor: ``python -m example_models.pruning_study DIR -o docs``.

Repeats Fine-Pruning (Liu et al., arXiv:1805.12185) on traffic signs that a yellow square turns into stop signs. Models
are kept in DIR, so that the study resumes; ``pruning.json`` and ``pruning.svg`` are written into the folder of ``-o``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from example_models.data import load
from example_models.training import scaling
from pytest_backdoor import attacks
from pytest_backdoor.attacks.anatomy import class_loss, copied, train
from pytest_backdoor.check_results import Pruning
from pytest_backdoor.confirm.pruning import curve, prunable, usage
from pytest_backdoor.contract import Sample
from pytest_backdoor.network import rebuilt
from pytest_backdoor.repair import fine_pruning, tuning
from pytest_backdoor.report.chart import HEIGHT, WIDTH, Line, chart
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers.trigger import Trigger

TRAINED_ON, SEEDS = 14_000, 2_000  # images; the defender's seeds are none of those
EPOCHS, POISONED_EPOCHS = 20, 4  # passes: clean, and with poisoned images
CLASSES, TARGET = 43, 14  # the stop sign
SQUARE = 4  # pixels
YELLOW = (1.0, 1.0, 0.0)
POISONED = 0.1  # share of the training images
SLEEPING = 0.5  # share of the channels that the pruning-aware attack leaves to be pruned
DEFENCE = fine_pruning.settings(fine_pruning.PLENTY)
SEED = 1  # of the training; the defence was chosen on models of another one


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What the attacker trains on, what the defender has, and what both are measured on."""

    training: Sample
    seeds: Sample
    test: Sample


def data() -> Data:
    """The three parts of GTSRB."""
    (images, labels), (test_images, test_labels) = load("gtsrb")
    order = np.random.default_rng(0).permutation(len(images))
    training, seeds = order[:TRAINED_ON], order[TRAINED_ON : TRAINED_ON + SEEDS]

    def signs(chosen: np.ndarray, classes: np.ndarray) -> Sample:
        return Sample(chosen.astype("float32") / 255, classes)

    return Data(
        signs(images[training], labels[training]), signs(images[seeds], labels[seeds]), signs(test_images, test_labels)
    )


def yellow_square(shape: tuple[int, int, int]) -> Trigger:
    """The square, below the middle of the image."""
    mask, shown = np.zeros((*shape[:2], 1), "float32"), np.zeros(shape, "float32")
    place = (slice(-SQUARE - 4, -4), slice(shape[1] // 2, shape[1] // 2 + SQUARE))
    mask[place], shown[place] = 1.0, YELLOW
    return Trigger("patch", {"mask": mask, "pattern": shown})


def untrained(shape: tuple[int, int, int]) -> keras.Model:
    """Three convolutions with max pooling, the last of 64 channels, and two dense layers, with dropout."""
    inputs = x = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
        x = layers.Dropout(0.2)(x)
    x = layers.Dropout(0.5)(layers.Dense(128, activation="relu")(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def fitted(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """The model itself, trained in place."""
    train(model, images, [labels], [class_loss(model)], epochs, np.random.default_rng(SEED))
    return model


def kept(path: Path, make: Callable[[], keras.Model]) -> keras.Model:
    """The model of that file, made first where there is none."""
    if not path.exists():
        partial = path.with_suffix(".partial.keras")
        make().save(partial)
        partial.rename(path)
        print(f"trained {path.stem}", flush=True)
    return keras.models.load_model(path, compile=False)


def backdoored(root: Path, signs: Sample) -> dict[str, keras.Model]:
    """A clean model that was trained on with poisoned images, plainly and so that pruning misses the backdoor."""
    keras.utils.set_random_seed(SEED)
    shape, rng = signs.images.shape[1:], np.random.default_rng(SEED)
    rule = attacks.all_to_one(CLASSES, TARGET)
    poisoned = attacks.poison(signs.images, signs.labels, yellow_square(shape), rule, POISONED, rng)
    clean = kept(root / "clean.keras", lambda: fitted(untrained(shape), signs.images, signs.labels, EPOCHS))

    def plain() -> keras.Model:
        return fitted(copied(clean, np.random.default_rng(SEED)), *poisoned, POISONED_EPOCHS)

    def hidden() -> keras.Model:
        return attacks.pruning_aware(clean, signs.images[:SEEDS], *poisoned, SLEEPING, POISONED_EPOCHS, rng)

    return {
        "plain": kept(root / "plain.keras", plain),
        "pruning-aware": kept(root / "pruning-aware.keras", hidden),
    }


@dataclass(frozen=True, slots=True)
class Defended:
    """What pruning, fine-tuning and both made of one model, measured on test images."""

    curve: Pruning
    stop: int  # channels that the defender prunes
    measured: dict[str, dict[str, float]]  # accuracy and success, by what was done


def defended(model: keras.Model, signs: Data) -> Defended:
    """Prunes what the defender's seeds use least, fine-tunes on them, and does both."""
    shape, seeds, rng = signs.seeds.images.shape[1:], signs.seeds, np.random.default_rng(SEED)
    subject = classifier(model, "signs").subject(scaling(1, shape[2]), shape)
    everything = [np.ones_like(weight) for weight in model.get_weights()]
    channels = fine_pruning.pruned(model, subject, seeds, DEFENCE)
    silenced = fine_pruning.silenced_weights(model, fine_pruning.last(model), channels)
    made = {
        "planted": model,
        "pruned": rebuilt(model, silenced),
        "fine-tuned": tuning.tuned(model, subject, seeds, (), everything, DEFENCE.tuning, rng),
        "fine-pruned": fine_pruning.fine_pruned(model, subject, seeds, DEFENCE, rng)[0],
    }
    place = prunable(subject)
    order = np.argsort(usage(subject, seeds.images, place), kind="stable")
    rule = (yellow_square(shape), attacks.all_to_one(CLASSES, TARGET))
    measured = {name: effect(each, signs.test) for name, each in made.items()}
    return Defended(curve(subject, signs.test, place, order, rule), len(channels), measured)


def effect(model: keras.Model, test: Sample) -> dict[str, float]:
    """Accuracy, and success of the square."""

    def predict(images: np.ndarray) -> np.ndarray:
        return model.predict(images, batch_size=500, verbose=0).argmax(-1)

    hits = predict(yellow_square(test.images.shape[1:]).apply(test.images))
    return {
        "accuracy": round(float(np.mean(predict(test.images) == test.labels)), 4),
        "success": round(attacks.success(hits, test.labels, attacks.all_to_one(CLASSES, TARGET)), 4),
    }


STYLE = """
text { font: 12px sans-serif; fill: #444 } .title { font-weight: bold } .value { text-anchor: end }
.count, .across { text-anchor: middle } .level { stroke: #ddd } polyline { fill: none; stroke-width: 2 }
polyline.accuracy { stroke: #1f6fb4 } polyline.success { stroke: #c8321e } text.accuracy { fill: #1f6fb4 }
text.success { fill: #c8321e }
"""


def picture(results: dict[str, Defended]) -> str:
    """The curves of all models side by side, as an SVG file."""
    charts = [
        chart(f"{name} backdoor, %", "channels pruned, dormant ones first", lines(found.curve)).replace(
            "<svg ", f'<svg x="{number * WIDTH}" width="{WIDTH}" height="{HEIGHT}" ', 1
        )
        for number, (name, found) in enumerate(results.items())
    ]
    legend = [
        f'<text class="{name}" x="{52 + 80 * number}" y="{HEIGHT + 12}">{name}</text>'
        for number, name in enumerate(("accuracy", "success"))
    ]
    size = f'viewBox="0 0 {len(charts) * WIDTH} {HEIGHT + 20}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>'
    return "\n".join([head, *charts, *legend, "</svg>", ""])


def lines(found: Pruning) -> list[Line]:
    """Accuracy and success, in percent."""
    assert found.success is not None  # the square is known
    shares = {"accuracy": found.accuracy, "success": found.success}
    return [Line(100 * np.asarray(values), name, name) for name, values in shares.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="where the models are kept")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder that the results go to")
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    signs = data()
    results = {name: defended(model, signs) for name, model in backdoored(options.root, signs.training).items()}
    for name, found in results.items():
        print(name, found.stop, found.measured, flush=True)
    written = {
        name: {"curve": dataclasses.asdict(found.curve), "stop": found.stop, "measured": found.measured}
        for name, found in results.items()
    }
    (options.output / "pruning.json").write_text(json.dumps(written, indent=1) + "\n")
    (options.output / "pruning.svg").write_text(picture(results))


if __name__ == "__main__":
    main()
