"""Train a recipe's towers with JAX and time each epoch, to estimate the gain of an accelerator.

The towers are Keras layers without TensorFlow calls, so Keras runs the same code on JAX; the
batches, the loss (full softmax), Adam, its schedule and the averaged weights are the recipe's too.
Not part of `pocketrec bench`, since the project does not require JAX:

    KERAS_BACKEND=jax python -m benchmarks.releases.jax_epochs RECIPE DATA --epochs 80 --json FILE
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import keras
import numpy as np

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_training.data.dataset import VALID, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.splits.check import check_split
from pocketrec_training.metrics.cases import evaluation_settings, some
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.item_tower import build_item_tower
from pocketrec_training.towers.schedule import learning_rate
from pocketrec_training.towers.sequences import Windows, batches
from pocketrec_training.towers.user_tower import build_user_tower
from pocketrec_training.towers.user_vectors import validation_ndcg

BETA_2, EPSILON = 0.98, 1e-7
"""As in `pocketrec_training.towers.step`, and Keras' default."""


@click.command()
@click.argument("recipe_path", type=click.Path(path_type=Path, exists=True))
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True))
@click.option("--epochs", type=int, default=5, show_default=True)
@click.option("--precision", default="float32", show_default=True, help="A Keras dtype policy.")
@click.option("--validate-every", type=int, default=10, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), required=True)
def main(
    recipe_path: Path,
    data_dir: Path,
    epochs: int,
    precision: str,
    validate_every: int,
    json_path: Path,
) -> None:
    """Train, print a line an epoch, and write the figures."""
    recipe = load_recipe(recipe_path)
    config = recipe.retrieval
    if config.loss != "softmax" or config.id_dropout or config.weight_decay:
        raise click.UsageError("only full softmax without id dropout and weight decay is here")
    data = load_dataset(recipe, data_dir)
    spec = feature_spec(recipe, data.items)
    keras.utils.set_random_seed(recipe.seed)
    user_tower = build_user_tower(config, spec)
    item_tower = build_item_tower(config, spec, len(data.items))
    inputs = item_inputs(spec, data.items, config.title_buckets)
    step, state = _compiled(user_tower, item_tower, inputs, config, precision)
    check_split(recipe, data, str(data_dir))
    cases = evaluation_settings(data, VALID)[0]
    if config.validate_users:
        cases = some(cases, config.validate_users, recipe.seed)
    points: list[dict[str, float]] = []
    for epoch in range(epochs):
        rng = np.random.default_rng([recipe.seed, epoch])
        begun, losses = time.perf_counter(), []
        parts = list(batches(data, spec.max_history, config.batch, rng))
        for i, part in enumerate(parts):
            rate = learning_rate(config, (epoch + (i + 1) / len(parts)) / epochs)
            state, loss = step(state, _arrays(part), rate)
            losses.append(loss)
        mean = float(jnp.mean(jnp.stack(losses)))  # waits for the device
        point = {"loss": mean, "seconds": time.perf_counter() - begun, "steps": float(len(parts))}
        if epoch + 1 == epochs or (epoch + 1) % validate_every == 0:
            _assign(user_tower, item_tower, state["average"])
            table = keras.ops.convert_to_numpy(item_tower(inputs, training=False))
            point["ndcg10"] = validation_ndcg(user_tower, table, spec, data, cases)
        points.append(point)
        click.echo(json.dumps(point))
    device = jax.devices()[0]
    found = {
        "recipe": recipe.name,
        "precision": precision,
        "device": f"{device.platform} {device.device_kind}",
        "jax": jax.__version__,
        "keras": keras.__version__,
        "epochs": points,
        "epoch_s_median": float(np.median([p["seconds"] for p in points[1:] or points])),
        "first_epoch_s": points[0]["seconds"],
        "train_s": sum(p["seconds"] for p in points),
    }
    write_atomic(json_path, (json.dumps(found, indent=2) + "\n").encode())


def _arrays(part: Windows) -> dict[str, Any]:
    names = ("rows", "events", "ages_s", "real", "weights", "places")
    return {name: getattr(part, name) for name in names}


def _compiled(
    user_tower: keras.Model, item_tower: keras.Model, inputs: Any, config: Any, precision: str
) -> tuple[Any, dict[str, Any]]:
    """One training step, and the state that it takes and returns."""
    states = user_tower.get_layer("tower")
    inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
    fixed_items = [v.value for v in item_tower.non_trainable_variables]

    def loss_of(weights: Any, fixed: Any, part: Any) -> Any:
        table, _ = item_tower.stateless_call(weights["items"], fixed_items, inputs, training=True)
        past = table[part["rows"]] * part["real"][..., None]  # [B, l, d]
        users, fixed = states.stateless_call(
            weights["users"], fixed, past, part["events"], part["ages_s"], training=True
        )
        users = users[:, :-1].reshape(-1, table.shape[1])[part["places"]]  # [T, d]
        logs = jax.nn.log_softmax(users @ table.T)
        targets = part["rows"].reshape(-1, 1)[part["places"]]
        wanted = jnp.take_along_axis(logs, targets, axis=1)[:, 0]
        counted = part["weights"].reshape(-1)[part["places"]]
        return -(wanted * counted).sum() / jnp.maximum(counted.sum(), 1.0), fixed

    @jax.jit
    def step(state: Any, part: Any, rate: Any) -> Any:
        with states.computing_in(precision):
            (loss, fixed), slopes = jax.value_and_grad(loss_of, has_aux=True)(
                state["weights"], state["fixed"], part
            )
        n = state["n"] + 1.0
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["first"], slopes)
        second = jax.tree.map(
            lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, state["second"], slopes
        )
        pace = rate * jnp.sqrt(1 - BETA_2**n) / (1 - 0.9**n)
        weights = jax.tree.map(
            lambda w, m, v: w - pace * m / (jnp.sqrt(v) + EPSILON), state["weights"], first, second
        )
        share = jnp.minimum(config.average, n / (n + 10.0))
        average = jax.tree.map(lambda a, w: share * a + (1 - share) * w, state["average"], weights)
        new = {"weights": weights, "first": first, "second": second}
        return {**new, "average": average, "fixed": fixed, "n": n}, loss

    weights = {
        "users": [jnp.copy(v.value) for v in states.trainable_variables],
        "items": [jnp.copy(v.value) for v in item_tower.trainable_variables],
    }
    zeros = jax.tree.map(jnp.zeros_like, weights)
    fixed = [v.value for v in states.non_trainable_variables]
    start = {"weights": weights, "first": zeros, "second": zeros, "average": weights}
    return step, {**start, "fixed": fixed, "n": jnp.zeros(())}


def _assign(user_tower: keras.Model, item_tower: keras.Model, average: Any) -> None:
    models = ((user_tower.get_layer("tower"), "users"), (item_tower, "items"))
    for model, name in models:
        for variable, value in zip(model.trainable_variables, average[name], strict=True):
            variable.assign(value)


if __name__ == "__main__":
    main()
