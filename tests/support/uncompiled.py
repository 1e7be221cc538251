"""Trainings of a few steps without XLA, which compiles for 10 s of processor time a training."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import tensorflow as tf

from pocketrec_training.ranker import epochs
from pocketrec_training.towers import step

EAGER_CALLS = 6
"""A step of the towers takes 0.4 s eagerly; tracing it takes 2.8 s, a traced step 0.01 s."""


def traced_if_often(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function eagerly at first; trace it once it has been called often with these shapes."""
    plain = tf.function(function)
    calls: Counter[str] = Counter()
    graphs: dict[str, Any] = {}

    def call(*arguments: Any) -> Any:
        shapes = str(tf.nest.map_structure(lambda one: (one.shape, one.dtype), arguments))
        calls[shapes] += 1
        if calls[shapes] <= EAGER_CALLS:
            return function(*arguments)
        if shapes not in graphs:
            graphs[shapes] = plain.get_concrete_function(*arguments)
        return graphs[shapes](*arguments)

    return call


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within it, functions of TensorFlow run eagerly, and XLA compiles nothing.

    Steps of trainings that were begun within it are traced if there are many. Their graphs are not
    optimized, which takes longer than it saves; they give what eager steps give.
    """
    towers, ranker = step.TowerFit.__init__, epochs._Step.__init__

    def tower_fit(self: Any, *arguments: Any, **options: Any) -> None:
        towers(self, *arguments, **options)
        self._compiled = traced_if_often(self._step)

    def ranker_step(self: Any, *arguments: Any, **options: Any) -> None:
        ranker(self, *arguments, **options)
        self._run = traced_if_often(self._graph)

    was_eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        with (
            mock.patch.object(step.TowerFit, "__init__", tower_fit),
            mock.patch.object(epochs._Step, "__init__", ranker_step),
        ):
            yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": was_eager})
        tf.config.run_functions_eagerly(was_eager)
