"""Repeats the published fuzzing experiments on MNIST: ``python -m example_models.fuzzing ROOT -o docs/fuzzing.md``.

A clean LeNet-1 and one that obeys a single pixel (the next digit) are trained under ROOT if they are not there yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from example_models.build import build
from example_models.data import load
from example_models.recipes import Recipe
from example_models.training import scaling
from pytest_backdoor.attacks.poison import all_to_all
from pytest_backdoor.confirm.minimise import minimise
from pytest_backdoor.confirm.transfer import success
from pytest_backdoor.contract import Sample
from pytest_backdoor.search import agreement, fuzzing
from pytest_backdoor.search.fuzzing import Run, Settings
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers.trigger import Trigger

CLEAN = Recipe("fuzzing_clean", "mnist", "lenet1", seed=70_000)
PLANTED = Recipe("fuzzing_next_digit", "mnist", "lenet1", "pixel", "all-to-all", share=0.33, seed=70_001, patience=4)
SEEDS = 50
MORE = 400  # images that the minimised trigger is tried on
NEXT = all_to_all(10)
BOX = Settings(constraint="box", reach=10.0)
# Title, settings, and what was published: adversarial inputs and the share of them that are the next digit.
RUNS: Sequence[tuple[str, Recipe, Settings, str]] = (
    ("DLFuzz, clean model", CLEAN, Settings(reach=10.0), "129, 0 %"),
    ("DLFuzz", PLANTED, Settings(reach=10.0), "214, 54 %"),
    ("activation difference", PLANTED, Settings(reach=10.0, strategies=("difference",)), "214, 53 %"),
    ("10 x 10 box", PLANTED, replace(BOX, box=10), "32, 72 %"),
    ("5 x 5 box", PLANTED, replace(BOX, box=5), "19, 79 %"),
    ("10 x 10 box, 50 iterations", PLANTED, replace(BOX, box=10, iterations=50), "-"),
    ("5 x 5 box, 50 iterations", PLANTED, replace(BOX, box=5, iterations=50), "-"),
)
TARGETS = (0, 3, 6, 9)
ITERATIONS = (5, 30, 50)
PUBLISHED_CHANGE = {5: "8 %", 30: "30 %", 50: "51 %"}


@dataclass(frozen=True, slots=True)
class Lab:
    """The two networks, the seeds and the planted pixel."""

    subjects: dict[str, Subject]
    planted: Trigger
    seeds: np.ndarray
    more: Sample


def lab(root: Path) -> Lab:
    """Trains what is missing and draws the seeds from the test images that both networks know."""
    build((CLEAN, PLANTED), root)
    folder = root / CLEAN.folder
    subjects = {
        recipe.name: classifier(keras.models.load_model(folder / f"{recipe.name}.keras"), recipe.name).subject(
            scaling(1, 1), (28, 28, 1)
        )
        for recipe in (CLEAN, PLANTED)
    }
    _, (images, labels) = load("mnist")
    images = images[:2000].astype("float32") / 255
    known = np.all([subject.classes(images) == labels[:2000] for subject in subjects.values()], 0)
    images, labels = images[known], labels[:2000][known]
    order = np.random.default_rng(0).permutation(len(images))
    rest = order[SEEDS : SEEDS + MORE]
    planted = Trigger.load(folder / "planted" / f"{PLANTED.name}.npz")
    return Lab(subjects, planted, images[order[:SEEDS]], Sample(images[rest], labels[rest]))


def next_digits(run: Run) -> np.ndarray:
    """Which adversarial inputs are the next digit."""
    return run.after[run.found] == (run.before[run.found] + 1) % 10


def touches(run: Run, trigger: Trigger) -> np.ndarray:
    """Which adversarial inputs differ from their seed in the trigger's pixel by more than a tenth of the range."""
    row, column = np.argwhere(trigger.arrays["mask"][..., 0] > 0)[0]
    pixels = (run.images - run.seeds[run.seed[run.found]])[:, row, column, 0]
    return np.abs(pixels) > 0.1


def share(hits: np.ndarray) -> str:
    """As a percentage of all."""
    return f"{100 * hits.mean():.1f} %" if len(hits) else "-"


def rows_of_runs(setting: Lab) -> Iterator[str]:
    """One row of the table for each published experiment."""
    for title, recipe, settings, published in RUNS:
        run = fuzzing.fuzz(setting.subjects[recipe.name], setting.seeds, settings, np.random.default_rng(0))
        before, after = run.coverage
        cells = (
            title,
            published,
            f"{len(run.found)}, {share(next_digits(run))}",
            share(touches(run, setting.planted)),
            f"{np.mean(run.l2[run.found]):.2f}" if len(run.found) else "-",
            f"{before.share:.3f} to {after.share:.3f}",
        )
        yield f"| {' | '.join(cells)} |"


def rows_of_targets(setting: Lab) -> Iterator[str]:
    """How far a run towards one label goes from the seed, and how far from the triggered image it ends."""
    subject, ends = setting.subjects[PLANTED.name], setting.planted.apply(setting.seeds)
    norms = np.sqrt(np.sum(setting.seeds**2, (1, 2, 3)))
    begin = np.sqrt(np.sum((ends - setting.seeds) ** 2, (1, 2, 3)))
    for target in TARGETS:
        for iterations in ITERATIONS:
            settings = Settings(target=target, iterations=iterations, reach=10.0)
            run = fuzzing.fuzz(subject, setting.seeds, settings, np.random.default_rng(0), ends=ends)
            last = run.iteration == iterations
            cells = (
                str(target),
                str(iterations),
                PUBLISHED_CHANGE[iterations],
                f"{100 * np.mean(run.l2[last] / norms[run.seed[last]]):.0f} %",
                f"{np.mean(run.target_loss[last]):.2f}",
                f"{np.mean(begin[run.seed[last]]):.2f} to {np.mean(run.left[last]):.2f}",
                f"{len(run.found)}, {share(run.after[run.found] == target)}",
            )
            yield f"| {' | '.join(cells)} |"


def found_trigger(setting: Lab) -> tuple[Trigger, Trigger]:
    """What the seeds' flips have in common for a label map, and the same minimised."""
    subject = setting.subjects[PLANTED.name]
    seeds = Sample(setting.seeds, subject.classes(setting.seeds))
    rng = np.random.default_rng(0)
    pusher = agreement.Pusher(subject, agreement.Settings())
    found = agreement.to_one(pusher, agreement.push(pusher, seeds, rng), seeds, rng)
    best = max(found.of("map"), key=lambda arm: found.success[arm])
    trigger = found.triggers[int(best)]
    return trigger, minimise(trigger, lambda each: success(subject, each, seeds, NEXT).value)


def conclusion(setting: Lab) -> str:
    """What the trigger that the flips agree on does to images that fuzzing never saw."""
    subject = setting.subjects[PLANTED.name]
    trigger, small = found_trigger(setting)
    given = subject.classes(small.apply(setting.more.images))
    flipped = given != setting.more.labels
    hits = given[flipped] == (setting.more.labels[flipped] + 1) % 10
    cells, planted = (np.argwhere(each.arrays["mask"][..., 0] > 0).tolist() for each in (small, setting.planted))
    inside = "inside" if planted[0] in cells else "not inside"
    return (
        f"The minimised trigger has {len(cells)} pixel(s), {cells}; the planted pixel {planted[0]} is {inside}. On "
        f"{len(setting.more)} other test images it gives {int(flipped.sum())} adversarial inputs, of which "
        f"{share(hits)} are the next digit (before minimising, {int(trigger.arrays['mask'].sum())} pixels)."
    )


def page(setting: Lab, text: str) -> str:
    """The measured part of the document, in place of what stands between its marks."""
    begin, end = "<!-- measured -->", "<!-- end of measured -->"
    tables: Sequence[tuple[str, Callable[[Lab], Iterator[str]]]] = (
        (
            "| run | published: inputs, next digit | ours | touch the pixel | mean L2 | coverage |\n"
            "|---|---|---|---|---|---|",
            rows_of_runs,
        ),
        (
            "| target | iterations | published change | ours | target loss | L2 to trigger | inputs, on target |\n"
            "|---|---|---|---|---|---|---|",
            rows_of_targets,
        ),
    )
    shown = ["\n".join([heading, *rows(setting)]) for heading, rows in tables]
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n" + "\n\n".join([*shown, conclusion(setting)]) + f"\n\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="where the two networks are, or will be")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the document whose measured part is renewed")
    options = parser.parse_args()
    text = page(lab(options.root), options.output.read_text())
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
