"""Several devices share each batch of the two towers (`tf.distribute`, MirroredStrategy).

Every device holds all weights and takes an equal part of the batch's windows; gradients are summed
over devices before the one update, so the result is that of one device up to rounding.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketrec_training.errors import RecipeInvalidError


def mirrored(replicas: int) -> tf.distribute.Strategy | None:
    """Return the strategy for `replicas` devices, None for one; GPUs where there are enough.

    Without GPUs the devices are logical parts of the processor, which TensorFlow makes only before
    its first operation: that is for tests, not for speed.

    Raises:
        RecipeInvalidError: this machine has fewer devices.
    """
    if replicas == 1:
        return None
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus if len(gpus) >= replicas else tf.config.list_logical_devices("CPU")
    if len(found) < replicas:
        raise RecipeInvalidError(
            f"retrieval.replicas: {replicas} devices are needed, but this machine has {len(gpus)} "
            "GPU(s). Set it to the number of GPUs, or to 1."
        )
    return tf.distribute.MirroredStrategy([device.name for device in found[:replicas]])


def parallel_step(
    strategy: tf.distribute.Strategy, step: Callable[..., Any]
) -> Callable[..., float]:
    """Return `step` run on all devices of a strategy, on parts of its arrays' first axis.

    Args:
        strategy: of `mirrored`.
        step: step(*parts, places, *shared, n_targets) -> the part's share of the loss; places are
            all places of a part, padded ones too.
    """
    n = strategy.num_replicas_in_sync

    # Not compiled by XLA, which cannot hold the sum over devices.
    @tf.function  # type: ignore[untyped-decorator]
    def run(arrays: tuple[Any, ...], n_targets: Any) -> Any:
        losses = strategy.run(step, args=arrays, kwargs={"n_targets": n_targets})
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def call(
        parted: tuple[NDArray[Any], ...],
        shared: tuple[Any, ...],
        *,
        n_targets: float,
    ) -> float:
        parts = [np.array_split(_padded(array, n), n) for array in parted]
        # The context is bound through a default, for the function outlives no iteration.
        arrays = [
            strategy.experimental_distribute_values_from_function(
                lambda context, part=part: tf.constant(part[context.replica_id_in_sync_group])
            )
            for part in parts
        ]
        places = np.arange(parts[0][0].size, dtype=np.int32)
        everything = (*arrays, *(tf.constant(array) for array in (places, *shared)))
        return float(run(everything, tf.constant(n_targets, tf.float32)))

    return call


def _padded(array: NDArray[Any], n: int) -> NDArray[Any]:
    """Add empty windows until n divides their number; weights of 0 keep them out of the loss."""
    missing = -len(array) % n
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
