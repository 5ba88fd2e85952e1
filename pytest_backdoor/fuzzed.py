"""A run of fuzzing over the seeds of one model, and its metrics: what flips, where it lands, how far it went."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import profiles, rules
from pytest_backdoor.contract import check, fit_channels
from pytest_backdoor.errors import BackdoorError, ContractError, OptionError, OutOfScopeError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.results import FuzzRun, Inputs
from pytest_backdoor.rules import Rule
from pytest_backdoor.scan import generator, sha256_of
from pytest_backdoor.search import fuzzing
from pytest_backdoor.search.fuzzing import Run
from pytest_backdoor.seeds import as_seeds, seeds_or_beside
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.unseeded import GIVE_SEEDS


def fuzz_model(
    model: Any,
    seeds: Any = None,
    options: Options | None = None,
    rule: Rule | None = None,
    name: str | None = None,
    against: Sequence[Path | str] = (),
) -> FuzzRun:
    """What becomes of the seeds that a model, a path or a Keras model, classifies right, by the settings ``fuzz.*``.

    Seeds are as for ``scan``. against are files of models of the same task: an input is then adversarial where the
    models disagree (DeepXplore), and the seeds are those that all of them classify right. Never raises BackdoorError
    but OptionError, for an unknown setting or a class that the model does not know: ``error`` says why nothing was
    fuzzed.
    """
    options = options or Options()
    settings = profiles.settings(options).fuzz
    shown = name or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "model")))
    begun = time.perf_counter()
    others = tuple(str(each) for each in against)
    run = FuzzRun(
        shown,
        "",
        written(settings),
        changed(settings, options),
        against=others,
        rule=None if rule is None else rules.text(rule),
    )
    try:
        run = dataclasses.replace(run, sha256=sha256_of(model))
        given = seeds_or_beside(model, seeds, options.seeds)  # the same for all: models are compared seed by seed
        ground = prepare(model, given, options, shown, run.sha256)
        more = [prepare(each, given, options, str(each), run.sha256) for each in against]
        run = pushed(run, shared(ground, more), [each.subject for each in more], settings, rule, options)
    except OptionError:
        raise
    except BackdoorError as reason:
        run = dataclasses.replace(run, error=str(reason).removeprefix(f"{model}: "))
    return dataclasses.replace(run, seconds=time.perf_counter() - begun)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A model and the seeds that it classifies right."""

    subject: Subject
    images: np.ndarray  # (n, height, width, channels), 0 to 1
    labels: np.ndarray  # (n,)
    names: tuple[str, ...]  # number among all seeds, and name where there is one


def prepare(model: Any, seeds: Any, options: Options, name: str, digest: str) -> Ground:
    """The model, loaded safely, with its seeds; raises BackdoorError where nothing can be fuzzed."""
    form = classifier(keras_file.opened(model), name, options.memory)
    if not form.gradients:
        raise OutOfScopeError("the model is a function without gradients to push along. Give the Keras model.")
    if seeds is None:
        raise ContractError(f"no seeds to push. {GIVE_SEEDS}")
    given = fit_channels(form, as_seeds(seeds))
    subject = check(form, given, options.min_accuracy, generator(options.seed, digest)).subject
    if not subject.layers:
        raise OutOfScopeError("the model has no layers with neurons, so there is no coverage to measure.")
    predicted = subject.classes(given.images)
    right = np.flatnonzero(predicted == (predicted if given.labels is None else given.labels))
    names = [f"{row}" if given.names is None else f"{row}-{given.names[row]}" for row in right]
    return Ground(subject, given.images[right], predicted[right], tuple(names))


def shared(ground: Ground, others: Sequence[Ground]) -> Ground:
    """The seeds that the other models classify as this one does; raises ContractError for models of another task."""
    task = ground.subject.image_shape, ground.subject.num_classes
    agreed = np.ones(len(ground.names), bool)
    for other in others:
        theirs = other.subject.image_shape, other.subject.num_classes
        if theirs != task:
            raise ContractError(
                f"{other.subject.name} tells {theirs[1]} classes of {theirs[0]} images apart, {ground.subject.name} "
                f"{task[1]} of {task[0]}. Only models of one task can disagree."
            )
        known = dict(zip(other.names, other.labels, strict=True))
        agreed &= [known.get(name) == label for name, label in zip(ground.names, ground.labels, strict=True)]
    names = tuple(np.array(ground.names)[agreed].tolist())
    return Ground(ground.subject, ground.images[agreed], ground.labels[agreed], names)


def pushed(
    run: FuzzRun,
    ground: Ground,
    others: Sequence[Subject],
    settings: fuzzing.Settings,
    rule: Rule | None,
    options: Options,
) -> FuzzRun:
    """The run with what became of the seeds; raises ContractError where there is none to push.

    Raises OptionError for a class that the model does not know, and for a target of several models.
    """
    classes = ground.subject.num_classes
    if settings.target is not None and others:
        raise OptionError(
            f"fuzz.target is {settings.target}, but several models are pushed to disagree and not to a class. Give one "
            "of the two, fuzz.target or --against."
        )
    if settings.target is not None and settings.target >= classes:
        raise OptionError(f"fuzz.target is {settings.target}, but the model knows the classes 0 to {classes - 1}.")
    leads = {} if rule is None else rules.label_map(rule, classes)
    wanted = None if rule is None else np.array([leads.get(label, -1) for label in range(classes)])
    if not np.any(ground.labels != settings.target):
        raise ContractError("no seed is left to push: the model classifies none right that is not in the target class.")
    rng = generator(options.seed, f"{run.sha256} fuzz")
    done = fuzzing.fuzz(ground.subject, ground.images, settings, rng, others)
    digest = hashlib.sha256(np.ascontiguousarray(ground.images).tobytes()).hexdigest()
    return measured(dataclasses.replace(run, seeds_sha256=digest), done, ground.names, wanted)


def measured(blank: FuzzRun, run: Run, names: tuple[str, ...], wanted: np.ndarray | None) -> FuzzRun:
    """The metrics of a run, and its adversarial inputs; wanted ``(classes,)`` is where the rule leads, -1: nowhere."""
    found = run.found
    before, after = run.before[found], run.after[found]
    origins = tuple(names[seed] for seed in run.seed[found])
    earlier, later = run.coverage
    return dataclasses.replace(
        blank,
        seeds=len(run.seeds),
        images=len(run.seed),
        adversarial=len(found),
        flipped=len(np.unique(run.seed[found])),
        before=shares(before),
        after=shares(after),
        activation=None if wanted is None or not len(found) else float(np.mean(after == wanted[before])),
        l2=mean_and_largest(run.l2[found]),
        linf=mean_and_largest(run.linf[found]),
        coverage=(earlier.share, later.share),
        inputs=Inputs(origins, run.turn[found], run.iteration[found], before, after, run.images),
    )


def shares(labels: np.ndarray) -> dict[int, float]:
    """The share of each label that occurs."""
    present, counts = np.unique(labels, return_counts=True)
    return {int(label): float(count / len(labels)) for label, count in zip(present, counts, strict=True)}


def mean_and_largest(distances: np.ndarray) -> tuple[float, float] | None:
    """Mean and maximum, None of nothing."""
    return (float(distances.mean()), float(distances.max())) if len(distances) else None


def written(settings: fuzzing.Settings) -> dict[str, int | float | str]:
    """The settings by name; what is no number as ``--backdoor-set`` takes it."""
    given = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    return {name: value if isinstance(value, int | float) else profiles.as_text(value) for name, value in given.items()}


def changed(settings: fuzzing.Settings, options: Options) -> tuple[str, ...]:
    """What differs from the defaults, as name=value: settings, and the seed of the random choices."""
    usual = written(fuzzing.Settings())
    differing = [f"{name}={value}" for name, value in written(settings).items() if value != usual[name]]
    return (*differing, *([f"seed={options.seed}"] if options.seed else []))
