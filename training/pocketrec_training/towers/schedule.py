"""The learning rate over the course of training."""

import math

from pocketrec_training.recipe.schema import RetrievalConfig


def learning_rate(config: RetrievalConfig, done: float) -> float:
    """Rise linearly over the warm-up, then fall by a cosine to a fiftieth (Loshchilov 2017)."""
    if config.schedule == "constant":
        return config.learning_rate
    rise = min(1.0, done / config.warmup) if config.warmup else 1.0
    fall = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    return config.learning_rate * rise * fall
