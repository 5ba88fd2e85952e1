"""The text of a failure: verdict first, then what was found, how sure, what replays it and what to do. No colour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_backdoor.report import words
from pytest_backdoor.results import Carrier, Evidence, Finding, ScanResult

Line = tuple[str, str]  # label and text
WIDTH = 9  # of the labels
SUCCESS = "transfer"  # the check that measures success, which has a line of its own
MEANINGS = {
    "permutation": "on average {} of the images of a class go where the best one-to-one label map leads",
    "strip": "{} of triggered images stay predictable when blended with clean ones (STRIP)",
    "pruning": "pruning the neurons that the trigger moves most: share of its success lost minus share of accuracy lost"
    ", {} at most",
    "natural control": "{} go there with the same region of a clean image of that class, at most",
}
NEXT = {
    "backdoor": "do not deploy this model; retrain from trusted data or repair it (pytest-backdoor repair), scan again",
    "inconclusive": "give what the first line asks for and scan again; this model is not cleared",
    "error": "correct what the first line names and scan again; this model is not cleared",
    "clean": "nothing to do",
}


def failure_text(result: ScanResult, alpha: float, command: str | None = None) -> str:
    """The report of one model; ``command`` is what repeats the scan."""
    lines = [*_about_model(result, alpha)]
    seeds = "synthetic seeds" if result.synthetic_seeds else "seeds"
    for finding in result.findings:
        lines += _about_finding(finding, len(result.findings) > 1, seeds)
    lines += [("skipped", words.visible(reason)) for reason in result.skipped]
    lines += [("repeat", words.visible(command))] if command else []
    saved = result.verdict == "backdoor" and any(finding.trigger_path for finding in result.findings)
    lines += [("next", NEXT[result.verdict] + (", keep replay as a test" if saved else ""))]
    return "\n".join([words.headline(result), *(f"  {label:{WIDTH}}{text}" for label, text in lines)])


def _about_model(result: ScanResult, alpha: float) -> Iterator[Line]:
    digest = f" (sha256 {result.sha256[:12]})" if result.sha256 else ""
    yield "model", words.visible(result.path) + digest
    if result.findings and result.error:
        yield "reason", words.visible(result.error)
    if result.p_value is not None:
        yield "p-value", f"{result.p_value:.2g} for everything that was tried (alpha {alpha:g})"
    if result.calibration is not None:
        yield "against", words.visible(result.calibration)
    if result.seeds is not None:
        accuracy = "unlabelled" if result.seeds.accuracy is None else f"accuracy {words.percent(result.seeds.accuracy)}"
        yield "seeds", f"{result.seeds.count}, scaling {words.visible(result.seeds.scaling)}, {accuracy}"
    if result.synthetic_seeds is not None:
        drawn = result.synthetic_seeds
        yield "seeds", f"none; {drawn.count} synthetic ones, values {words.visible(drawn.scaling)}"


def _about_finding(finding: Finding, several: bool, seeds: str) -> Iterator[Line]:
    if several:
        yield "finding", f"{finding.rule} {finding.kind}, {words.classes(finding)}"
    yield "effect", words.effect(finding)
    yield "trigger", f"{finding.family}{' of' if finding.size == 1 else ','} {words.extent(finding, ' of the image')}"
    yield "success", f"{words.success(finding)} of held-out {seeds}, 99 % interval"
    checks = [_check(evidence) for evidence in finding.evidence if evidence.check != SUCCESS]
    yield from (("" if row else "checks", check) for row, check in enumerate(checks))
    if finding.carriers:
        yield "neurons", "fire more often with the trigger, by: " + ", ".join(map(_carrier, finding.carriers))
    if finding.trigger_path:
        yield "saved", finding.trigger_path
        yield "replay", replay(finding)


def replay(finding: Finding) -> str:
    """The line of code that tests whether this trigger still works."""
    path = Path(finding.trigger_path or "").as_posix()
    goal = [(name, getattr(finding, name)) for name in ("target", "source", "mapping")]
    named = "".join(
        f", {name}={dict(value) if name == 'mapping' else value}" for name, value in goal if value is not None
    )
    return f'assert_trigger_inert(model, "{path}", seeds{named})'


def _check(evidence: Evidence) -> str:
    value = words.percent(evidence.value)
    if evidence.interval is not None:
        low, high = evidence.interval
        value = f"{value} ({100 * low:.3g} to {words.percent(high)})"
    return MEANINGS.get(evidence.check, f"{evidence.check} {{}}").format(value)


def _carrier(carrier: Carrier) -> str:
    return f"{words.visible(carrier.layer)} {carrier.neuron} ({100 * carrier.difference:.2g} points)"
