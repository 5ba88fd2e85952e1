"""Scans the zoo and writes what was found: ``python -m example_models.study DIR [-o docs/detection.md]``; resumes."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import binomtest

from pytest_backdoor.results import to_dict
from pytest_backdoor.scan import scan

HALVES = {"choose": "thresholds were chosen on these", "report": "scanned when the thresholds were fixed"}
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Row = dict[str, Any]


def measure(zoo: Path, only: str) -> None:
    """Scans every model that has no result yet."""
    results = zoo / "results"
    results.mkdir(exist_ok=True)
    for truth in sorted(zoo.glob("*.json")):
        result = results / truth.name
        if only in truth.name and not result.exists():
            entry = to_dict(scan(truth.with_suffix(".keras"), name=truth.stem))
            partial = result.with_suffix(".partial")
            partial.write_text(json.dumps(entry, indent=1))
            os.replace(partial, result)
            print(truth.stem, entry["verdict"], entry["p_value"], f"{entry['seconds']:.0f} s", flush=True)


def rows(zoo: Path) -> list[Row]:
    """Truth and result of each scanned model that counts."""
    found = []
    for path in sorted((zoo / "results").glob("*.json")):
        truth, result = json.loads((zoo / path.name).read_text()), json.loads(path.read_text())
        clean = next(zoo.glob("_".join(path.stem.split("_")[:2]) + "_*_clean.json"))
        counts = planted(truth, json.loads(clean.read_text())["accuracy"])
        found.append({"name": path.stem, "half": path.stem.split("_")[0], "counts": counts, **truth, "result": result})
    return found


def planted(truth: Row, clean_accuracy: float) -> bool:
    """Whether the model is what it should be: clean, or with a backdoor that works and costs no accuracy."""
    if truth["attack"] is None:
        return True
    needed = 0.85 * clean_accuracy if truth["kind"] == "all-to-all" else 0.9
    return truth["success"] >= needed and truth["accuracy"] >= clean_accuracy - 0.02


def right(row: Row) -> bool:
    """Whether kind, source, target and label map are those that were planted."""
    return any(
        finding["kind"] == row["kind"]
        and finding["source"] == row["source"]
        and finding["target"] == row["target"]
        and (row["kind"] != "all-to-all" or finding["mapping"] == row["mapping"])
        for finding in row["result"]["findings"]
    )


def summary(found: list[Row], half: str) -> list[str]:
    """What the half came to, in lines of Markdown."""
    mine = [row for row in found if row["half"] == half and row["counts"]]
    clean = [row for row in mine if row["attack"] is None]
    bad = [row for row in mine if row["attack"]]
    alarms = sum(row["result"]["verdict"] == "backdoor" for row in clean)
    caught = sum(row["result"]["verdict"] == "backdoor" for row in bad)
    correct = sum(map(right, bad))
    seconds = [row["result"]["seconds"] for row in mine if row["architecture"].startswith("lenet")]
    cells = [f"{half}: {HALVES[half]}", share(alarms, len(clean)), share(caught, len(bad)), share(correct, len(bad))]
    return [_row([*cells, f"{auroc(clean, bad):.3f}", f"{median(seconds):.0f} s" if seconds else ""])]


def share(hits: int, count: int) -> str:
    """``14 of 15 (70 to 99 %)``, with the 95 % Wilson interval."""
    if not count:
        return "none yet"
    interval = binomtest(hits, count).proportion_ci(0.95, "wilson")
    return f"{hits} of {count} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"


def auroc(clean: list[Row], bad: list[Row]) -> float:
    """Chance that a backdoored model scores higher than a clean one; ties count half."""
    pairs = [(b["result"]["score"] or 0.0, c["result"]["score"] or 0.0) for b in bad for c in clean]
    return sum(1.0 if b > c else 0.5 if b == c else 0.0 for b, c in pairs) / max(1, len(pairs))


def table(found: list[Row]) -> str:
    """All that was measured, as Markdown."""
    halves = [half for half in HALVES if any(row["half"] == half for row in found)]
    lines = [
        "| half | false alarms | found | found and right | AUROC | median time, LeNet |",
        "|---|---|---|---|---|---|",
    ]
    for half in halves:
        lines += summary(found, half)
    lines += ["", "| model | accuracy | success | verdict | p | found | s |", "|---|---|---|---|---|---|---|"]
    lines += [line(row) for row in found]
    return "\n".join(lines)


def line(row: Row) -> str:
    """One model in the table."""
    result = row["result"]
    success = "" if row["success"] is None else f"{row['success']:.2f}"
    verdict = result["verdict"] + ("" if row["counts"] else " (not counted)")
    names = [
        {"all-to-one": f"to {f['target']}", "source-specific": f"{f['source']} to {f['target']}"}.get(
            f["kind"], "label map"
        )
        + (" ✓" if right(row) else " ✗")
        for f in result["findings"]
    ]
    p_value = "" if result["p_value"] is None else f"{result['p_value']:.1g}"
    seconds = f"{result['seconds']:.0f}"
    return _row([row["name"], f"{row['accuracy']:.3f}", success, verdict, p_value, ", ".join(names), seconds])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path, metavar="DIR", help="the zoo that example_models.build --zoo DIR trained")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("-o", "--output", type=Path, help="the document whose measured part is replaced")
    options = parser.parse_args()
    measure(options.zoo, options.only)
    measured = table(rows(options.zoo))
    print(measured)
    if options.output:
        text = options.output.read_text()
        before, after = text[: text.index(BEGIN)], text[text.index(END) :]
        options.output.write_text(f"{before}{BEGIN}\n{measured}\n{after}")


if __name__ == "__main__":
    main()
