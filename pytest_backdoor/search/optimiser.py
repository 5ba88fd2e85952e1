"""The optimiser of trigger inversion: the smallest change that sends images where an arm wants them.

All arms of a family are one batch: one forward and backward pass per step serves every target class, label map and
source-target pair. Each arm has its own random start, its own cost schedule and its own smallest trigger so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from keras import ops

from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.search.arms import Arm, Batch
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers import Family, Params
from pytest_backdoor.triggers.trigger import Trigger

RATE, MOMENTUM, SCALE_MOMENTUM = 0.1, 0.5, 0.9  # Adam
SMOOTHING = 0.6  # of the success, the share that the past keeps
COST_STEPS = 4  # steps between changes of the cost
COST_UP, COST_DOWN = 1.5, 1.5**1.5
COST_RANGE = (1e-5, 10.0)


class State(NamedTuple):
    """The optimiser's state; the first axis of every tensor counts the arms."""

    params: Params
    first: Params  # Adam's moments
    second: Params
    best: Params  # parameters of the smallest trigger that met the level
    best_size: Any
    success: Any  # smoothed
    cost: Any
    level: Any
    steps: Any


Step = Callable[[State, Batch, Any], State]


def begin(arms: Sequence[Arm], family: Family, shape: tuple[int, int, int], rng: np.random.Generator) -> State:
    """A fresh random start for every arm."""
    params = family.initial(len(arms), shape, rng)
    zeros = tuple(np.zeros_like(param) for param in params)
    each = np.ones(len(arms), "float32")
    level = np.array([arm.level for arm in arms], "float32")
    return State(params, zeros, zeros, params, np.inf * each, 0 * each, family.start_cost * each, level, 0 * each)


def compile_step(subject: Subject, family: Family) -> Step:
    """One optimiser step for any number of arms of a family, on batches drawn from a pool of images.

    A subject's step of a family is compiled once: that takes as long as many steps.
    """
    if family.name in subject.compiled:
        return cast(Step, subject.compiled[family.name])

    def loss(params: Params, cost: Any, batch: Batch, pool: Any) -> tuple[Any, tuple[Any, Any]]:
        return objective(subject, family, pool, params, cost, batch)

    evaluate = value_and_grad(loss)

    def step(state: State, batch: Batch, pool: Any) -> State:
        (_, (success, size)), gradients = evaluate(state.params, state.cost, batch, pool)
        return advance(state, success, size, gradients)

    run: Step = compiled(step)
    subject.compiled[family.name] = run
    return run


def objective(
    subject: Subject, family: Family, pool: Any, params: Params, cost: Any, batch: Batch
) -> tuple[Any, tuple[Any, Any]]:
    """Sum over arms of goal loss and cost times size; and per arm the success and the size."""
    arms, groups = ops.shape(cost)[0], ops.shape(batch.group_arm)[0]
    arrays = family.arrays(params)
    each_image = tuple(ops.take(array, batch.arm, axis=0) for array in arrays)
    logits = subject.logits(family.apply(each_image, ops.take(pool, batch.image, axis=0)))  # (n, classes)
    agreed = ops.segment_sum(ops.log_softmax(logits), batch.group, groups) / batch.group_size  # (groups, classes)
    reached = ops.logsumexp(agreed - 1e9 * (1 - batch.allowed), axis=-1)
    loss = -ops.segment_sum(reached * batch.group_share, batch.group_arm, arms)
    chosen = ops.one_hot(ops.argmax(logits, axis=-1), subject.num_classes)
    flips = ops.segment_sum(chosen, batch.group, groups) / batch.group_size
    success = ops.segment_sum(ops.max(flips * batch.allowed, axis=-1) * batch.group_share, batch.group_arm, arms)
    size = family.size(arrays)
    return ops.sum(loss + cost * size), (success, size)


def advance(state: State, success: Any, size: Any, gradients: Params) -> State:
    """Adam on the parameters, the schedule on the cost, and a copy of what is smallest and good enough."""
    steps = state.steps + 1
    smoothed = SMOOTHING * state.success + (1 - SMOOTHING) * success
    good = smoothed >= state.level
    better = ops.logical_and(good, size < state.best_size)
    first = _pairwise(lambda m, g: MOMENTUM * m + (1 - MOMENTUM) * g, state.first, gradients)
    second = _pairwise(lambda v, g: SCALE_MOMENTUM * v + (1 - SCALE_MOMENTUM) * g * g, state.second, gradients)
    rate = RATE * ops.sqrt(1 - SCALE_MOMENTUM**steps) / (1 - MOMENTUM**steps)
    moves = _pairwise(lambda m, v: _along(rate, m) * m / (ops.sqrt(v) + 1e-8), first, second)
    changed = ops.clip(ops.where(good, state.cost * COST_UP, state.cost / COST_DOWN), *COST_RANGE)
    return State(
        params=_pairwise(lambda param, move: param - move, state.params, moves),
        first=first,
        second=second,
        best=_pairwise(lambda new, old: ops.where(_along(better, new), new, old), state.params, state.best),
        best_size=ops.where(better, size, state.best_size),
        success=smoothed,
        cost=ops.where(steps % COST_STEPS == 0, changed, state.cost),
        level=state.level,
        steps=steps,
    )


def triggers(state: State, family: Family) -> list[Trigger]:
    """Each arm's smallest trigger that met its level; where none did, its last."""
    found = np.isfinite(ops.convert_to_numpy(state.best_size))
    raw = _pairwise(lambda best, last: ops.where(_along(found, best), best, last), state.best, state.params)
    arrays = [ops.convert_to_numpy(array) for array in family.arrays(raw)]
    return [
        Trigger(family.name, {name: array[arm] for name, array in zip(family.names, arrays, strict=True)})
        for arm in range(len(found))
    ]


def _pairwise(function: Callable[[Any, Any], Any], left: Params, right: Params) -> Params:
    return tuple(function(a, b) for a, b in zip(left, right, strict=True))


def _along(values: Any, like: Any) -> Any:
    """One value per arm, shaped to multiply a parameter."""
    return ops.reshape(values, (-1, *[1] * (len(like.shape) - 1)))
