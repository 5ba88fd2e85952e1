"""The study's results as Markdown: rates with intervals, by attack, data set, network and training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

import numpy as np
from scipy.stats import binomtest

from example_models.recipes import images_of

Row = dict[str, Any]  # truth of a model, and under "result" what a scan of it came to


def counts(row: Row, clean_accuracy: float) -> bool:
    """Whether the model is what it should be: clean, or with a backdoor that works and costs no accuracy."""
    if row["attack"] is None:
        return True
    needed = 0.85 * clean_accuracy if row["kind"] == "all-to-all" else 0.9
    return bool(row["success"] >= needed and row["accuracy"] >= clean_accuracy - 0.02)


def clean_accuracy(row: Row, clean: Sequence[Row]) -> float:
    """What clean models of the same data and network reach, those trained the plain way if there are any."""
    alike = [each for each in clean if (each["data"], each["architecture"]) == (row["data"], row["architecture"])]
    plain = [each for each in alike if each["training"] == "plain"]
    return mean(each["accuracy"] for each in plain or alike or clean)


def flagged(row: Row) -> bool:
    return bool(row["result"]["verdict"] == "backdoor")


def right(row: Row) -> bool:
    """Whether kind, source, target and label map are those of a backdoor that was planted."""
    return any(
        finding["kind"] == row["kind"]
        and finding["source"] == row["source"]
        and (
            finding["mapping"] == row["mapping"] if row["kind"] == "all-to-all" else finding["target"] in row["targets"]
        )
        for finding in row["result"]["findings"]
    )


def share(hits: int, count: int) -> str:
    """``14 of 15 (70 to 99 %)``, with the 95 % Wilson interval."""
    if not count:
        return ""
    interval = binomtest(hits, count).proportion_ci(0.95, "wilson")
    return f"{hits} of {count} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"


def auroc(clean: Sequence[float], bad: Sequence[float]) -> float:
    """Chance that a backdoored model scores higher than a clean one; ties count half."""
    above = np.subtract.outer(np.array(bad), np.array(clean))
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def overall(rows: Sequence[Row], name: str) -> list[str]:
    """One row of the first table: rates, AUROC and times of all rows."""
    clean, bad = [row for row in rows if not row["attack"]], [row for row in rows if row["attack"]]
    found = [row for row in bad if flagged(row)]
    seconds = [row["result"]["seconds"] for row in rows]
    middle, high = (quantiles(seconds, n=20)[index] for index in (9, 18))
    scores = [[row["result"]["score"] or 0.0 for row in each] for each in (clean, bad)]
    return [
        name,
        share(sum(map(flagged, clean)), len(clean)),
        share(len(found), len(bad)),
        share(sum(map(right, found)), len(found)),
        f"{auroc(*scores):.3f}",
        f"{middle:.0f} s, {high:.0f} s",
    ]


def grid(rows: Sequence[Row], down: Callable[[Row], str], hit: Callable[[Row], bool]) -> list[str]:
    """A table of shares: a line for each group of rows, a column for each data set, and all together."""
    sets = sorted({images_of(row["data"]) for row in rows})
    lines = [line(["", *sets, "all"]), line(["---"] * (len(sets) + 2))]
    for group in sorted({down(row) for row in rows}):
        mine = [row for row in rows if down(row) == group]
        cells = [[row for row in mine if images_of(row["data"]) == data] for data in sets]
        brief = [f"{sum(map(hit, cell))} of {len(cell)}" if cell else "" for cell in cells]
        lines.append(line([group, *brief, share(sum(map(hit, mine)), len(mine))]))
    return lines


def attack_of(row: Row) -> str:
    return f"{row['attack']}, {row['kind']}"


def peers(rows: Sequence[Row], name: str, score: Callable[[Row], float], alarm: Callable[[Row], bool]) -> list[str]:
    """A published rule on the same models: false alarms, backdoors found, AUROC."""
    clean, bad = [row for row in rows if not row["attack"]], [row for row in rows if row["attack"]]
    rates = [share(sum(map(alarm, each)), len(each)) for each in (clean, bad)]
    return [name, *rates, "", f"{auroc(list(map(score, clean)), list(map(score, bad))):.3f}", ""]


def misjudged(rows: Sequence[Row]) -> list[str]:
    """Every model whose verdict or finding is wrong, with its p-value."""
    lines = [line(["model", "accuracy", "success", "verdict", "p", "found"]), line(["---"] * 6)]
    for row in rows:
        if flagged(row) != bool(row["attack"]) or (flagged(row) and not right(row)):
            result = row["result"]
            named = ", ".join(f"{f['family']}, {f['kind']} {f['source']} {f['target']}" for f in result["findings"])
            p_value = "" if result["p_value"] is None else f"{result['p_value']:.1g}"
            success = "" if row["success"] is None else f"{row['success']:.2f}"
            lines.append(line([row["name"], f"{row['accuracy']:.3f}", success, result["verdict"], p_value, named]))
    return lines


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def publish(measured: str, page: Path | None, begin: str, end: str) -> None:
    """Prints what was measured, and puts it between two marks of a document, if there is one."""
    print(measured)
    if page is not None:
        text = page.read_text()
        before, after = text[: text.index(begin)], text[text.index(end) :]
        page.write_text(f"{before}{begin}\n{measured}\n{after}")
