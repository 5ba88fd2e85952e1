"""Trains the example models, or the development zoo: ``python -m example_models.build [--zoo DIR]``."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from example_models.data import load
from example_models.recipes import EXAMPLES, Recipe, zoo
from example_models.train import train

HERE = Path(__file__).parent
SEEDS = {"mnist": 200, "fashion_mnist": 200, "cifar10": 500}  # small CIFAR-10 models are right on six of ten


def build(recipes: Iterable[Recipe], folder: Path, only: str = "") -> None:
    """Trains what is not there yet; a model, its trigger and its truth appear together or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        if only in recipe.name and not (folder / f"{recipe.name}.json").exists():
            begun = time.perf_counter()
            facts = save(recipe, folder)
            keras.backend.clear_session()
            print(f"{recipe.name}: {facts} in {time.perf_counter() - begun:.0f} s", flush=True)


def save(recipe: Recipe, folder: Path) -> dict[str, object]:
    """Trains one model and writes it, its seeds, its planted trigger and, last, its truth."""
    model, trigger, facts = train(recipe)
    inference = keras.Model(model.inputs[0], model.outputs[0])  # without the optimizer's state
    inference.save(folder / f"{recipe.name}.keras")
    if trigger is not None:
        (folder / "planted").mkdir(exist_ok=True)
        trigger.save(folder / "planted" / f"{recipe.name}.npz")
    write_seeds(recipe, folder / f"{recipe.name}.seeds.npz")
    partial = folder / f"{recipe.name}.json.partial"
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    os.replace(partial, folder / f"{recipe.name}.json")
    return facts


def write_seeds(recipe: Recipe, path: Path) -> None:
    """Clean test images with labels, as many of each class, in the file's own 0..255 scale."""
    _, (images, labels) = load(recipe.data)
    rng = np.random.default_rng(12345)
    classes, count = np.unique(labels), SEEDS[recipe.data]
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(labels == c), count // len(classes), replace=False) for c in classes]
    )
    np.savez_compressed(path, x=images[chosen].squeeze(), y=labels[chosen].astype("uint8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="train the development zoo into DIR; resumes")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    options = parser.parse_args()
    if options.zoo:
        build(zoo(), options.zoo, options.only)
    else:
        build(EXAMPLES, HERE, options.only)


if __name__ == "__main__":
    main()
