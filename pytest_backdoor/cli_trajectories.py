"""``pytest-backdoor trajectories``: fuzzes some seeds of a model and draws what was measured on the way."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_backdoor import options as option
from pytest_backdoor import tool, values
from pytest_backdoor.errors import BackdoorError, ContractError, OptionError, OutOfScopeError
from pytest_backdoor.options import Options
from pytest_backdoor.sealed import sealed

if TYPE_CHECKING:
    from pytest_backdoor.contract import Contract, Sample
    from pytest_backdoor.results import Trajectories
    from pytest_backdoor.search.fuzzing import Settings
    from pytest_backdoor.subject import Subject
    from pytest_backdoor.triggers.trigger import Trigger

DRAWN, NOT_DRAWN = 0, 2
ITERATIONS, IMAGES, STEP = 30, 20, 0.02
OPTIONS = ("seed", "min_accuracy", "memory")


def add(commands: Any) -> None:
    """Adds the command with its arguments."""
    command = commands.add_parser(
        "trajectories",
        help="draw how fuzzed seeds move: losses, coverage, distances",
        description="Fuzzes seeds of the model and draws what is measured at each iteration, as one HTML page. With a"
        " trigger, each seed is pushed to the class that the trigger leads it to, and beside its path lies the straight"
        " one to its triggered version.",
        epilog="exit code: 0 drawn, 2 not drawn, 4 wrong usage",
    )
    command.add_argument("model", metavar="MODEL", type=Path, help="a model file")
    command.add_argument("seeds", metavar="SEEDS", type=Path, help=option.SETTINGS["seeds"].help.partition(" (")[0])
    command.add_argument("-o", "--output", required=True, metavar="FILE", type=Path, help="the HTML page to write")
    command.add_argument("--trigger", metavar="FILE", type=Path, help="a known trigger, as a scan saves it (.npz)")
    command.add_argument(
        "--target", metavar="N", type=_whole, help="the class to reach (default: where the trigger leads, or any other)"
    )
    for name, default, read, about in (
        ("iterations", ITERATIONS, positive, "iterations"),
        ("images", IMAGES, positive, "seeds to draw, as evenly over the classes as can be"),
        ("step", STEP, _share, "size of a step, as a share of the value range"),
    ):
        command.add_argument(f"--{name}", metavar="N", type=read, default=default, help=f"{about} (default: {default})")
    option.add_flags(command.add_argument, "--", OPTIONS)
    command.set_defaults(run=_run)


def _run(given: argparse.Namespace, options: Options) -> int:
    values.output(given.output, given.model, given.seeds, given.trigger)
    with sealed():
        said, drawn = draw(given, options)
    print(said, file=sys.stdout if drawn else sys.stderr)
    return DRAWN if drawn else NOT_DRAWN


def draw(given: argparse.Namespace, options: Options) -> tuple[str, bool]:
    """Writes the page and returns what it shows; or what is wrong and False.

    Raises OptionError for a target that the model does not know.
    """
    from pytest_backdoor import report
    from pytest_backdoor.report import trajectories

    try:
        found, head = measured(given, options)
    except OptionError:
        raise
    except BackdoorError as problem:
        return f"not drawn: {problem}", False
    unwritten = report.write_text(given.output, trajectories.render(found, head))
    return (f"not drawn: {unwritten}", False) if unwritten else (f"{trajectories.seen(found)}\n{given.output}", True)


def measured(given: argparse.Namespace, options: Options) -> tuple[Trajectories, dict[str, str]]:
    """The trajectories that were asked for, and what the page's head says of them; raises BackdoorError."""
    from pytest_backdoor.contract import check
    from pytest_backdoor.loading import keras_file
    from pytest_backdoor.scan import generator, sha256_of
    from pytest_backdoor.search.fuzzing import Settings
    from pytest_backdoor.search.trajectories import trajectories
    from pytest_backdoor.seeds import read_seeds
    from pytest_backdoor.subject import classifier
    from pytest_backdoor.triggers.trigger import Trigger

    trigger = None if given.trigger is None else Trigger.load(given.trigger)
    digest = sha256_of(given.model)
    rng = generator(options.seed, digest)
    model = classifier(keras_file.load(given.model), str(given.model), options.memory)
    contract = check(model, read_seeds(given.seeds), options.min_accuracy, rng)
    if not contract.subject.layers:
        raise OutOfScopeError(f"{given.model} has no layer with neurons, which fuzzing pushes. Give another model.")
    course = Course.of(contract.subject, contract.known, trigger, given.target).few(given.images, rng)
    settings = Settings(iterations=given.iterations, step=given.step, queue=1)
    found = trajectories(contract.subject, course.images, course.targets, settings, rng, course.ends)
    return found, facts(given, options, digest, contract, len(course.images), trigger, settings)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Seeds and where they should go."""

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None  # (n,) the class that each should reach; None: any other
    ends: np.ndarray | None  # the triggered seeds

    @classmethod
    def of(cls, subject: Subject, seeds: Sample, trigger: Trigger | None, target: int | None) -> Course:
        """All seeds that are not where they should go yet; raises BackdoorError where there are none."""
        if target is not None and target >= subject.num_classes:
            raise OptionError(f"--target: the model knows the classes 0 to {subject.num_classes - 1}, got {target}.")
        ends = None
        if trigger is not None:
            trigger.require(subject.image_shape)
            ends = trigger.apply(seeds.images)
        if target is not None:
            targets = np.full(len(seeds), target)
        elif ends is not None:
            targets = subject.classes(ends)
        else:
            return cls(seeds.images, seeds.labels, None, None)
        course = cls(seeds.images, seeds.labels, targets, ends).part(np.flatnonzero(targets != seeds.labels))
        if not len(course.labels):
            raise ContractError(nowhere(len(seeds), target))
        return course

    def part(self, rows: np.ndarray) -> Course:
        """The course of these seeds."""
        targets, ends = (None if each is None else each[rows] for each in (self.targets, self.ends))
        return Course(self.images[rows], self.labels[rows], targets, ends)

    def few(self, count: int, rng: np.random.Generator) -> Course:
        """At most so many seeds, as evenly over the classes as can be, in the order of the classes."""
        drawn = rng.permutation(len(self.labels))
        by_class = drawn[np.argsort(self.labels[drawn], kind="stable")]
        ordered = self.labels[by_class]
        place = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)  # of each within its class
        return self.part(by_class[np.sort(np.argsort(place, kind="stable")[:count])])


def nowhere(seeds: int, target: int | None) -> str:
    """Why no seed has anywhere to go."""
    if target is None:
        return f"the trigger changes the class of none of the {seeds} seeds. Give --target, or a trigger of this model."
    return f"all {seeds} seeds are of the target class {target}. Give seeds of other classes."


def facts(
    given: argparse.Namespace,
    options: Options,
    digest: str,
    contract: Contract,
    drawn: int,
    trigger: Trigger | None,
    settings: Settings,
) -> dict[str, str]:
    """The head of the page."""
    used = contract.seeds
    accuracy = "unlabelled" if used.accuracy is None else f"accuracy {used.accuracy:.1%}"
    anywhere = "any other class" if trigger is None else "the class that the trigger leads each seed to"
    told = {name: value for name, value in dataclasses.asdict(settings).items() if name not in ("target", "batch")}
    return {
        "model": str(given.model),
        "sha256": digest[:12],
        "seeds": f"{drawn} of {used.count} in {given.seeds}, scaling {used.scaling}, {accuracy}",
        "target": anywhere if given.target is None else f"class {given.target}",
        "trigger": "none given" if trigger is None else f"{given.trigger}, {trigger.family}",
        "settings": ", ".join(f"{name} {_plain(value)}" for name, value in told.items()),
        "random seed": str(options.seed),
        "tool": f"{tool.NAME} {tool.version()}",
    }


def _plain(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text!r}")
    return share
