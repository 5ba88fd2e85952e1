"""One step of fuzzing: images of a batch move up an objective, each with its own constants, in one compiled function.

Every objective is linear in the logits and the neurons of the models,

    sum_m <w_m, logits_m(x)> + <v, strength(x)>,

so that the same step serves DLFuzz's objective, DeepXplore's and that of a target label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from keras import ops

from pytest_backdoor.backend import compiled, pulled_back
from pytest_backdoor.search import coverage
from pytest_backdoor.search.constraints import CONSTRAINTS, Move
from pytest_backdoor.subject import Subject


class Plan(NamedTuple):
    """What a batch of images is pushed towards, and what it is measured against."""

    seeds: Any  # (n, height, width, channels)
    ends: Any  # where the paths of the seeds should end, the same
    classes: Any  # (models, n, classes) weights of the logits
    neurons: Any  # (n, neurons) weights of the neurons


class Seen(NamedTuple):
    """What the models make of a batch of images, and how far those are from their seeds."""

    logits: Any  # (models, n, classes)
    activity: Any  # (n, neurons)
    objective: Any  # (n,)
    l2: Any  # (n,) from the seed
    linf: Any  # (n,)
    left: Any  # (n,) L2 distance to where the path should end


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """The compiled functions of a run: many steps, and a look that moves nothing.

    Steps take images, a plan, windows, the size of a move, how far from the seeds it may lead, and the numbers of the
    iterations.
    """

    steps: Callable[[Any, Plan, Any, Any, Any, Any], tuple[Any, Seen]]  # the images of all iterations, and those seen
    look: Callable[[Any, Plan], Seen]


def engine(subjects: Sequence[Subject], constraint: str) -> Engine:
    """The engine for some models of one task; it is compiled once."""
    name = f"{constraint} {[id(subject) for subject in subjects[1:]]}"
    if name not in subjects[0].compiled:
        subjects[0].compiled[name] = compile_engine(subjects, CONSTRAINTS[constraint].move)
    return cast(Engine, subjects[0].compiled[name])


def stepper(subject: Subject, constraint: str) -> Callable[[Any, Any, Any, Any], Any]:
    """The compiled step without neurons, looks and bounds: from images, weights of the logits, windows and size."""
    name = f"{constraint} alone"
    if name not in subject.compiled:
        evaluate = pulled_back(lambda images: (subject.logits(images), ()))
        move = CONSTRAINTS[constraint].move

        def step(images: Any, weights: Any, windows: Any, size: Any) -> Any:
            _, gradients = evaluate(images, weights)
            return ops.clip(images + size * move(normalised(gradients), windows), 0.0, 1.0)

        subject.compiled[name] = compiled(step)
    return cast(Callable[[Any, Any, Any, Any], Any], subject.compiled[name])


def compile_engine(subjects: Sequence[Subject], move: Move) -> Engine:
    """A step moves images up the objective; steps are one graph, so that no time is lost between them."""

    def look(images: Any, plan: Plan) -> Seen:
        return seen(plan, images, *passed(subjects, images))

    def passing(images: Any, plan: Plan) -> tuple[list[Any], Seen]:
        logits, outputs = passed(subjects, images)
        return [logits, *outputs], seen(plan, images, logits, outputs)

    evaluate = pulled_back(passing)

    def steps(images: Any, plan: Plan, windows: Any, size: Any, reach: Any, iterations: Any) -> tuple[Any, Seen]:
        slopes = [plan.classes, *slopes_along(plan, passed(subjects, images)[1])]

        def next_one(carried: tuple[Any, Seen], iteration: Any) -> tuple[tuple[Any, Seen], tuple[Any, Seen]]:
            # Windows (some, n, height, width, 1): one for all iterations, or one for each.
            window = ops.take(windows, ops.minimum(iteration, ops.shape(windows)[0] - 1), axis=0)
            now, gradients = evaluate(carried[0], slopes, plan)
            change = size * move(normalised(gradients), window)
            moved = bounded(carried[0] + change, plan.seeds, reach), now
            return moved, moved

        # In TensorFlow a scan must put out what it carries on, so what was seen is carried too.
        each = ops.zeros_like(plan.neurons[:, 0])
        nothing = Seen(ops.zeros_like(plan.classes), ops.zeros_like(plan.neurons), each, each, each, each)
        (last, _), (pictures, sights) = ops.scan(next_one, (images, nothing), iterations)
        after = look(last, plan)
        # A step sees the images that it is given: those of each iteration are seen by the next.
        return pictures, Seen(*(ops.concatenate([old[1:], new[None]]) for old, new in zip(sights, after, strict=True)))

    return Engine(compiled(steps), compiled(look))


def passed(subjects: Sequence[Subject], images: Any) -> tuple[Any, list[Any]]:
    """The logits ``(models, n, classes)`` of all models, and the outputs of all their layers."""
    passes = [subject.activations(images) for subject in subjects]
    return ops.stack([logits for logits, _ in passes]), [output for _, layers in passes for output in layers]


def slopes_along(plan: Plan, outputs: Sequence[Any]) -> list[Any]:
    """The slope of the objective along each value that a layer puts out: constant, so made once for all steps.

    Taken from the strength, a mean over places, it would be spread over the places again in every step.
    """
    slopes, first = [], 0
    for output in outputs:
        *places, neurons = output.shape[1:]
        weights = plan.neurons[:, first : first + neurons] / float(np.prod(places))
        slopes.append(ops.tile(ops.reshape(weights, (-1, *[1] * len(places), neurons)), (1, *places, 1)))
        first += neurons
    return slopes


def seen(plan: Plan, images: Any, logits: Any, outputs: Sequence[Any]) -> Seen:
    """What one pass of the images through all models shows."""
    activity, strength = coverage.awake(outputs)
    change = images - plan.seeds
    return Seen(
        logits,
        activity=activity,
        objective=ops.sum(plan.classes * logits, (0, 2)) + ops.sum(plan.neurons * strength, 1),
        l2=norms(change),
        linf=ops.max(ops.abs(change), (1, 2, 3)),
        left=norms(images - plan.ends),
    )


def norms(images: Any) -> Any:
    """L2 norm of each image: ``(n,)``."""
    return ops.sqrt(ops.sum(ops.square(images), (1, 2, 3)))


def normalised(gradients: Any) -> Any:
    """Each image's gradient, scaled to a root mean square of 1."""
    return gradients / (ops.sqrt(ops.mean(ops.square(gradients), (1, 2, 3), keepdims=True)) + 1e-5)


def bounded(images: Any, seeds: Any, reach: Any) -> Any:
    """The images drawn back to within ``reach`` times the norm of their seeds (at least 1), and into 0 to 1."""
    change = images - seeds
    allowed = reach * ops.maximum(norms(seeds), 1.0)
    kept = ops.minimum(1.0, allowed / ops.maximum(norms(change), 1e-12))
    return ops.clip(seeds + kept[:, None, None, None] * change, 0.0, 1.0)
