"""Trajectories as one HTML page that needs nothing else: what the reader sees, a chart of each measure, the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pytest_backdoor.report.chart import Line, chart, text
from pytest_backdoor.results import Paths, Trajectories

LEFT = "left"  # the measure that only a known trigger gives
TITLES = {
    "target_loss": "target loss",
    "original_loss": "original loss",
    "objective": "total objective",
    "covered": "covered neurons, share",
    "l2": "distance to the original, L2",
    LEFT: "distance to the triggered image, L2",
}
STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --faint: #666; --level: #e2e2e2; --seed: #7f9cc4;
  --fuzzed: #0b4ea2; --desired: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --text: #ececec; --faint: #a5a5a5; --level: #33363c;
  --seed: #5f7ba3; --fuzzed: #8cc0ff; --desired: #ffa25e; } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 1200px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
.seen { font-size: 1.1rem; border-left: 4px solid var(--desired); padding-left: .8rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; color: var(--faint); }
.legend svg { width: 34px; height: 10px; margin-right: .4rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 1rem; margin: 1rem 0; }
.charts svg { width: 100%; height: auto; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
svg text.title { fill: var(--text); font-size: 13px; font-weight: 600; }
svg text.value { text-anchor: end; }
svg text.count, svg text.across { text-anchor: middle; }
.level { stroke: var(--level); }
polyline, .legend line { fill: none; stroke-linejoin: round; }
.seed { stroke: var(--seed); stroke-width: 1; opacity: .55; }
.seed:hover { stroke: var(--text); stroke-width: 2; opacity: 1; }
.fuzzed { stroke: var(--fuzzed); stroke-width: 3; }
.desired { stroke: var(--desired); stroke-width: 3; stroke-dasharray: 7 4; }
.legend .seed { opacity: 1; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); }
th, td { padding: .1rem .6rem; text-align: right; border-bottom: 1px solid var(--level); }
thead th { text-align: center; vertical-align: bottom; font-weight: 600; }
"""


def render(found: Trajectories, facts: Mapping[str, str]) -> str:
    """The page; facts is what its head says of the model, the seeds and the settings, the model first."""
    title = f"Trajectories of {facts['model']}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        # Nothing of a stranger's may run or be fetched, should a name ever get past the escaping.
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{text(title)}</h1>",
        f'<p class="seen">{text(seen(found))}</p>',
        "<dl>",
        *(f"<dt>{text(name)}</dt><dd>{text(fact)}</dd>" for name, fact in facts.items()),
        "</dl>",
        _legend(found),
        '<div class="charts">',
        *(_chart(found, name) for name in measures(found)),
        "</div>",
        _table(found),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def seen(found: Trajectories) -> str:
    """What the charts show, in a sentence or two: whether fuzzing walks to the trigger, where one is known."""
    steps = found.fuzzed.target_loss.shape[1] - 1
    loss = f"In {steps} iteration{'' if steps == 1 else 's'} the mean target loss {_course(found.fuzzed.target_loss)}"
    if found.desired is None:
        return f"{loss} and the mean distance to the original {_change(found.fuzzed.l2)}."
    left = found.fuzzed.left
    nearer, walked = int(np.sum(left[:, -1] < left[:, 0])), int(np.isfinite(left[:, -1]).sum())
    return (
        f"{loss}, and the mean distance to the triggered image {_change(left)}: fuzzing {_way(left)}; {nearer} of "
        f"{walked} seeds end nearer to it than they began. On the straight path to the triggered image the mean "
        f"target loss {_course(found.desired.target_loss)}."
    )


def measures(found: Trajectories) -> list[str]:
    """The names of what was measured."""
    return [name for name in TITLES if name != LEFT or found.desired is not None]


def means(values: np.ndarray) -> np.ndarray:
    """The mean over the seeds at each iteration, of those that have a finite value; NaN where none has."""
    there = np.isfinite(values)
    total, count = np.where(there, values, 0.0).sum(0), there.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ends(values: np.ndarray) -> tuple[str, str]:
    """The mean at the first and at the last iteration, as text."""
    along = means(values)
    return _number(along[0]), _number(along[-1])


def _change(values: np.ndarray) -> str:
    first, last = _ends(values)
    if first == last:
        return f"stays at {first}"
    return f"{'grows' if means(values)[-1] > means(values)[0] else 'falls'} from {first} to {last}"


def _course(losses: np.ndarray) -> str:
    """The change of the mean loss, and its least value where that is not at an end."""
    along = means(losses)
    at = int(np.where(np.isfinite(along), along, np.inf).argmin())
    least = _number(along[at])
    return _change(losses) + ("" if least in _ends(losses) else f" (least at iteration {at}: {least})")


def _way(left: np.ndarray) -> str:
    """Where the mean path leads, seen from the triggered images."""
    first, last = _ends(left)
    if first == last:
        return "walks neither to the trigger nor away from it"
    return "walks away from the trigger" if means(left)[-1] > means(left)[0] else "walks towards the trigger"


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "-"


def _legend(found: Trajectories) -> str:
    entries = {"seed": "one seed, fuzzed", "fuzzed": "mean of the seeds, fuzzed"}
    if found.desired is not None:
        entries["desired"] = "desired path: straight from the seed to its triggered version, mean"
    swatches = (
        f'<span><svg viewBox="0 0 34 10" aria-hidden="true"><line class="{style}" x1="0" y1="5" x2="34" y2="5"/></svg>'
        f"{text(label)}</span>"
        for style, label in entries.items()
    )
    return f'<p class="legend">{"".join(swatches)}</p>'


def _chart(found: Trajectories, name: str) -> str:
    values = _measure(found.fuzzed, name)
    lines = [Line(row, "seed", label) for row, label in zip(values, _labels(found), strict=True)]
    if found.desired is not None:
        lines.append(Line(means(_measure(found.desired, name)), "desired", "desired path, mean"))
    return chart(TITLES[name], "iteration", [*lines, Line(means(values), "fuzzed", "fuzzed, mean")])


def _labels(found: Trajectories) -> Iterator[str]:
    for index, label in enumerate(found.classes):
        yield f"seed {index}, class {label}" + ("" if found.targets is None else f" to {found.targets[index]}")


def _table(found: Trajectories) -> str:
    kinds = {"fuzzed": found.fuzzed} | ({} if found.desired is None else {"desired": found.desired})
    names = measures(found)
    heads = "".join(f'<th colspan="{len(kinds)}" scope="colgroup">{text(TITLES[name])}</th>' for name in names)
    under = "".join(f'<th scope="col">{kind}</th>' for _ in names for kind in kinds)
    columns = [means(_measure(paths, name)) for name in names for paths in kinds.values()]
    rows = (
        f'<tr><th scope="row">{index}</th>{"".join(f"<td>{_number(value)}</td>" for value in row)}</tr>'
        for index, row in enumerate(zip(*columns, strict=True))
    )
    return (
        '<div class="scroll"><table><caption>Means over the seeds</caption><thead>'
        f'<tr><th rowspan="2" scope="col">iteration</th>{heads}</tr><tr>{under}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _measure(paths: Paths, name: str) -> np.ndarray:
    return np.asarray(getattr(paths, name))
