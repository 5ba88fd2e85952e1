"""Gradients and compilation in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

ZERO = tf.UnconnectedGradients.ZERO  # behind a step such as rounding, as in other backends


def value_and_grad(function: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[tuple[Any, Any], Any]]:
    """From ``f(params, *rest) -> (loss, more)`` to ``(params, *rest) -> ((loss, more), gradients of params)``."""

    def evaluate(params: Any, *rest: Any) -> tuple[tuple[Any, Any], Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(params)
            loss, more = function(params, *rest)
        slopes = tape.gradient(loss, params, unconnected_gradients=ZERO)
        # What is only ever indexed has a sparse gradient.
        return (loss, more), tf.nest.map_structure(tf.convert_to_tensor, slopes)

    return evaluate


def pulled_back(function: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """From ``f(params, *rest) -> (outputs, more)`` to ``(params, slopes, *rest) -> (more, gradients of params)``.

    The gradients are those of the sum of all slopes times outputs, which is never made.
    """

    def evaluate(params: Any, slopes: Any, *rest: Any) -> tuple[Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(params)
            outputs, more = function(params, *rest)
        return more, tape.gradient(outputs, params, output_gradients=slopes, unconnected_gradients=ZERO)

    return evaluate


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph that serves every batch size; XLA only on a GPU, on a CPU it is slower."""
    xla = device() == "gpu" or None
    # Nothing here branches on tensors in Python, and to look for that would take as long as the rest of compiling.
    graph: Callable[..., Any] = tf.function(function, autograph=False, reduce_retracing=True, jit_compile=xla)
    return graph


def device() -> str:
    """What the numbers are computed on: ``cpu`` or ``gpu``."""
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"
