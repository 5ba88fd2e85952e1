"""The words for findings and numbers that every text report uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_backdoor.results import Finding, FuzzRun, Planted, ScanResult, SelfTest


def visible(text: str) -> str:
    """The text with what a terminal would obey or hide (controls, escapes, text direction) written out.

    Names of models and layers, and messages about them, come from whoever made the file.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def path_from(folder: Path | None, path: Path) -> str:
    """The path as a user standing in the folder would type it."""
    return os.path.relpath(path, folder) if folder and path.is_relative_to(folder) else str(path)


def percent(share: float) -> str:
    """A share of 1 as a percentage with the digits that matter: 0.004 -> 0.4 %."""
    return f"{100 * share:.3g} %"


def success(finding: Finding) -> str:
    """Estimate and interval of the success of an attack: 97 % (93 to 99 %)."""
    estimate, low, high = finding.attack_success
    return f"{percent(estimate)} ({100 * low:.3g} to {percent(high)})"


def extent(finding: Finding, of: str = "") -> str:
    """Pixels and their share: 9 pixels (1.15 %); or that it is the whole image."""
    if finding.size == 1:
        return "the whole image"
    return f"{finding.pixels} pixel{'' if finding.pixels == 1 else 's'} ({percent(finding.size)}){of}"


def classes(finding: Finding, most: int = 4) -> str:
    """Where the trigger leads: a class, source -> target, or the first entries of a label map."""
    if finding.mapping is not None:
        return label_map(finding.mapping, most)
    target = "any other" if finding.target is None else str(finding.target)
    return target if finding.source is None else f"{finding.source} -> {target}"


def label_map(mapping: Mapping[int, int], most: int) -> str:
    """A label map as 0>1 1>2 ..., cut after so many entries."""
    entries = [f"{source}>{target}" for source, target in sorted(mapping.items())]
    return " ".join(entries[:most]) + (" ..." if len(entries) > most else "")


def effect(finding: Finding) -> str:
    """What the trigger does to the model, in a sentence without the names of kinds."""
    if finding.mapping is not None:
        return f"each class is taken for another: {label_map(finding.mapping, most=len(finding.mapping))}"
    source = "any class" if finding.source is None else f"class {finding.source}"
    target = "another class" if finding.target is None else f"class {finding.target}"
    return f"an image of {source} that bears the trigger is taken for {target}"


def goal(finding: Finding) -> str:
    """What the trigger aims at: target class 7, class 3 -> 7, classes 0>1 1>2 ..."""
    named = {"all-to-one": "target class", "all-to-all": "classes", "source-specific": "class"}
    return f"{named[finding.kind]} {classes(finding)}"


def power(test: SelfTest) -> str:
    """What the self-test showed, in one line: would have found: patch from 1 px; missed: warp of 1 px."""
    if not any(each.planted for each in test.plants):
        return f"self-test: {test.error or 'no copy of the model learned any of the backdoors'}"
    smallest = [each for each in test.plants if each.found and each.size == test.smallest.get(each.family)]
    found = {each.family: f"{each.family} from {extent_of(each)}" for each in smallest}
    missed = [_named(each) for each in test.plants if each.planted and not each.found]
    unlearned = [_named(each) for each in test.plants if not each.planted]
    parts = {"would have found": list(found.values()) or ["none"], "missed": missed, "not planted": unlearned}
    said = [f"{what}: {', '.join(which)}" for what, which in parts.items() if which]
    return "; ".join([*said, *([test.error] if test.error else [])])


def fuzzing(run: FuzzRun) -> str:
    """What a run of fuzzing came to, in one line: fuzzing: 12 adversarial inputs of 3 of 200 seeds; ..."""
    if run.coverage is None:
        return f"fuzzing: {run.error}"
    counts = f"{run.adversarial} adversarial inputs of {run.flipped} of {run.seeds} seeds"
    parts = [counts, *(f"{what}: {said}" for what, said in measures(run).items())]
    saved = run.error or (f"saved in {run.saved}" if run.saved else "")
    return "fuzzing: " + "; ".join([*parts, *([saved] if saved else [])])


def measures(run: FuzzRun) -> dict[str, str]:
    """The metrics of a run of fuzzing besides its counts, by name; those that there are."""
    named: dict[str, str] = {}
    if run.after:
        named["to"] = labels(run.after, most=3)
    if run.activation is not None:
        named[f"rule {run.rule}"] = percent(run.activation)
    for name, distance in (("L2", run.l2), ("L-infinity", run.linf)):
        if distance is not None:
            named[name] = f"{distance[0]:.3g} (largest {distance[1]:.3g})"
    if run.coverage is not None:
        named["coverage"] = " -> ".join(map(percent, run.coverage))
    return named


def labels(shares: Mapping[int, float], most: int) -> str:
    """Shares of labels, the largest first, cut after so many: class 3 50 %, class 1 25 %, ..."""
    ranked = sorted(shares.items(), key=lambda entry: (-entry[1], entry[0]))
    named = [f"class {label} {percent(share)}" for label, share in ranked]
    return ", ".join(named[:most] + (["..."] if len(named) > most else []))


def _named(planted: Planted) -> str:
    return f"{planted.kind} {planted.family} of {extent_of(planted)}"


def extent_of(planted: Planted) -> str:
    """Size of a planted trigger in the unit of its family."""
    if planted.family == "patch":
        return f"{planted.pixels} px"
    return f"{planted.size:g} px moved" if planted.family == "warp" else f"{percent(planted.size)} strength"


def headline(result: ScanResult) -> str:
    """The verdict and what led to it, in one line that starts with the verdict."""
    if not result.findings:
        return f"{result.verdict.upper()} {visible(result.path)}" + (
            f": {visible(result.error)}" if result.error else ""
        )
    first, others = result.findings[0], len(result.findings) - 1
    more = f" (and {others} more)" if others else ""
    return f"{result.verdict.upper()} {first.kind}, {goal(first)}{more}: {extent(first)}, success {success(first)}"
