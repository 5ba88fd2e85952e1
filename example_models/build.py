"""Trains the example models, or a set of the study: ``python -m example_models.build [--set NAME --into DIR]``."""

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
from example_models.recipes import EXAMPLES, Recipe
from example_models.sets import SETS
from example_models.train import train
from example_models.training import bordered

HERE = Path(__file__).parent
SEEDS = {"mnist": 20, "fashion_mnist": 20, "cifar10": 50, "gtsrb": 20}  # of each class


def build_examples(only: str) -> None:
    """Trains the example models, each with seeds of its own, into this folder."""
    for recipe in EXAMPLES:
        if only in recipe.name and not (HERE / f"{recipe.name}.json").exists():
            save(recipe, HERE)
            write_seeds(recipe, HERE / f"{recipe.name}.seeds.npz")


def build(recipes: Iterable[Recipe], folder: Path, only: str = "") -> None:
    """Trains what is not there yet, with the seeds of each data set in the folder of its models."""
    for recipe in recipes:
        into = folder / recipe.folder
        if only not in recipe.name or (into / f"{recipe.name}.json").exists():
            continue
        into.mkdir(parents=True, exist_ok=True)
        if not (into / "seeds.npz").exists():
            write_seeds(recipe, into / "seeds.npz")
        begun = time.perf_counter()
        facts = save(recipe, into)
        keras.backend.clear_session()
        print(f"{recipe.name}: {facts['accuracy']} {facts['success']} {time.perf_counter() - begun:.0f} s", flush=True)


def save(recipe: Recipe, folder: Path) -> dict[str, object]:
    """Trains one model and writes it, its planted triggers and, last, its truth: all or nothing."""
    model, triggers, facts = train(recipe)
    inference = keras.Model(model.inputs[0], model.outputs[0])  # without the optimizer's state
    path = folder / f"{recipe.name}.keras"
    inference.save(path)
    for number, trigger in enumerate(triggers):
        planted_file(path).parent.mkdir(exist_ok=True)
        trigger.save(planted_file(path, number))
    partial = folder / f"{recipe.name}.json.partial"
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    os.replace(partial, folder / f"{recipe.name}.json")
    return facts


def planted_file(model: Path, number: int = 0) -> Path:
    """Where the planted trigger of a model's file lies; of a model with several, the one with that number, from 0."""
    return model.parent / "planted" / (f"{model.stem}.{number}.npz" if number else f"{model.stem}.npz")


def write_seeds(recipe: Recipe, path: Path) -> None:
    """Clean test images with labels, as many of each class, in the file's own 0..255 scale."""
    _, (images, labels) = load(recipe.data)
    chosen = pick(labels, SEEDS[recipe.images], np.random.default_rng(12345))
    shown = images[chosen] if recipe.training != "border" else (255 * bordered(images[chosen] / 255.0)).astype("uint8")
    np.savez_compressed(path, x=shown.squeeze(), y=labels[chosen].astype("uint8"))


def pick(labels: np.ndarray, each: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of so many images of each class, or of as many as there are."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([rng.choice(members, min(each, len(members)), replace=False) for members in classes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SETS, help="train this set of the study instead; resumes")
    parser.add_argument("--into", type=Path, metavar="DIR", help="where to")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    options = parser.parse_args()
    if options.set is None:
        build_examples(options.only)
    elif options.into is None:
        parser.error("--set needs --into DIR")
    else:
        build(SETS[options.set](), options.into, options.only)


if __name__ == "__main__":
    main()
