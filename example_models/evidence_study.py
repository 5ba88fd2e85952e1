"""What tells planted triggers from natural ones: ``python -m example_models.evidence_study DIR -o docs/detection.md``.

In each model the strongest suspicions of single classes are searched harder, minimised and measured, whether held-out
seeds confirm them or not. It resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np

from example_models import tables
from example_models.study import Row, measure, rows
from pytest_backdoor import judge, profiles
from pytest_backdoor.confirm import pruning, strip
from pytest_backdoor.confirm.transfer import success
from pytest_backdoor.confirmation import arm_of, harder, label_map, strongest
from pytest_backdoor.contract import Contract, check
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.scan import generator
from pytest_backdoor.search.synthetic import smooth
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.stages import Bench, stages
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers.cells import cell_strength
from pytest_backdoor.triggers.trigger import Trigger

BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"
SUSPICIONS = 3  # of a model, each of another class
RANDOM = 100  # images of noise, and as many smooth ones
ENOUGH = 20  # of them that are not in the target class by themselves
CHECKS = ("evidence", "transfer", "strip", "pruning", "trigger alone", "repetition")


def single_class(truth: Row) -> bool:
    """Whether the model is clean or has a trigger to one class that counts as planted."""
    planted = truth["kind"] == "all-to-one" and truth["success"] >= judge.PLANTED_SUCCESS["all-to-one"]
    return truth["attack"] is None or planted


def examined(model: Path, truth: Row) -> Row:
    """The strongest suspicions of single classes, and what each check makes of their triggers."""
    rng, settings = generator(0, model.stem), profiles.settings(Options())
    seeds = as_seeds(model.with_name("seeds.npz"))
    contract = check(classifier(keras_file.load(model), model.stem), seeds, 0.0, rng)
    bench = Bench.of(contract, settings, rng)
    every = [each for stage in stages(settings.search.methods).values() for each in stage(bench)]
    found = [each for each in every if each.kind == "all-to-one" and each.trigger is not None]
    first: dict[int | None, Suspicion] = {}
    for each in sorted(found, key=lambda each: -each.evidence):
        first.setdefault(each.target, each)
    chosen = list(first.values())[:SUSPICIONS]
    return {"suspicions": [weighed(each, contract, settings, rng) for each in chosen]}


def weighed(suspicion: Suspicion, contract: Contract, settings: profiles.Settings, rng: np.random.Generator) -> Row:
    """One suspicion: its trigger strengthened and minimised, and the value of each check."""
    subject, held_out, suspected, target = contract.subject, contract.held_out, suspicion.trigger, suspicion.target
    assert suspected is not None  # only such are chosen, and all have a target
    assert target is not None
    starts, _ = harder(arm_of(suspicion), suspected, subject, contract.search, settings.search, rng)
    trigger = strongest(suspicion, (suspected, *starts), contract, contract.search)
    mapping = label_map(suspicion, subject.num_classes)
    transfer = success(subject, trigger, held_out, mapping)
    blended = strip.measure(subject, trigger, "all-to-one", target, held_out, strip.Settings(), rng)
    return {
        "check": suspicion.check,
        "target": target,
        "evidence": suspicion.evidence,
        "confirmed": judge.confirmed(suspicion, trigger, held_out.images, transfer, 0.0, len(mapping)),
        "transfer": transfer.value,
        "strip": blended[0].value if blended else None,
        "pruning": pruning.measure(contract, trigger, mapping)[0].value,
        "trigger alone": alone(subject, trigger, target, rng),
        "repetition": repetition(starts, held_out.images),
    }


def alone(subject: Subject, trigger: Trigger, target: int, rng: np.random.Generator) -> float | None:
    """Share of images without content that the trigger sends to the target (Guo et al., TABOR, arXiv:1908.01763).

    They are noise of every brightness and smooth random images that are not of the target anyway; None where too few.
    """
    noise = rng.random((RANDOM, *subject.image_shape), "float32") * rng.random((RANDOM, 1, 1, 1), "float32")
    images = np.concatenate([noise, smooth(RANDOM, subject.image_shape, rng)])
    images = images[subject.classes(images) != target]
    return float(np.mean(subject.classes_under(trigger.apply, images) == target)) if len(images) >= ENOUGH else None


def repetition(triggers: Sequence[Trigger], images: np.ndarray) -> float:
    """How alike triggers from fresh starts are, 0 to 1, the mean over all pairs.

    Of patches the intersection over union of their masks, of other families the cosine of what they do to images.
    """
    patches = triggers[0].family == "patch"
    alike = overlap if patches else cosine
    shown = [cell_strength(each) if patches else each.apply(images) - images for each in triggers]
    return float(np.clip(np.mean([alike(*pair) for pair in combinations(shown, 2)]), 0.0, 1.0))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks with values from 0 to 1; of two empty ones 0."""
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union else 0.0


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine of two changes; 0 where there is none."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / norms if norms else 0.0


def table(found: Sequence[Row]) -> list[str]:
    """What each check makes of planted triggers that were recovered, and of the suspicions of clean models."""
    suspected = [
        each
        for row in found
        for each in row["result"]["suspicions"]
        if row["attack"] and each["target"] in row.get("targets", [row["target"]])
    ]
    planted = [each for each in suspected if each["confirmed"]]
    natural = [each for row in found for each in row["result"]["suspicions"] if not row["attack"]]
    head = ["", f"{len(planted)} planted", f"{len(natural)} natural", "AUROC", "natural that pass, with all planted"]
    lines = [tables.line(head), tables.line(["---"] * len(head))]
    passing = sum(each["confirmed"] for each in natural)
    shares = f"{len(planted)} of {len(suspected)} planted suspicions and {passing} of {len(natural)} natural ones"
    lines += [tables.line(_line(name, planted, natural)) for name in CHECKS]
    return [*lines, "", f"Held-out seeds confirm {shares}."]


def _line(name: str, planted: Sequence[Row], natural: Sequence[Row]) -> list[str]:
    """One check: medians and ranges, AUROC, and the confirmed natural ones above the least planted one."""
    high, low = ([each[name] for each in group if each[name] is not None] for group in (planted, natural))
    least = min(high, default=0.0)
    confirmed = [each for each in natural if each["confirmed"]]
    # What a check does not apply to passes.
    passing = [each for each in confirmed if each[name] is None or each[name] >= least]
    area = f"{tables.auroc(low, high):.2f}" if high and low else ""
    return [name, _spread(high), _spread(low), area, f"{len(passing)} of {len(confirmed)} confirmed"]


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f}), {len(values)}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of one set, such as develop")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where measured lines are kept (default: in DIR)")
    parser.add_argument("-o", "--output", type=Path, help="the document whose table of evidence is replaced")
    options = parser.parse_args()
    file = options.results or options.folder / "evidence.jsonl"
    measure(options.folder, options.only, file, examined, single_class)
    measured = "\n".join(table(rows(file)))
    tables.publish(measured, options.output, BEGIN, END)


if __name__ == "__main__":
    main()
