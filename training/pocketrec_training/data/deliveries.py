"""Record the deliveries of a data folder, so that a repeated delivery counts once."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketrec_bundle.disk.files import canonical_json, sha256_file
from pocketrec_training.data import columns as col
from pocketrec_training.data.sources import Source
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.files import table_files
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.tables import DataConfig

_SPEC_KEYS = ("separator", "quote", "header", "encoding", "null_values", "layout", "above")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """Saved as `ingested.json`: a digest of the recipe's reading rules, one digest a delivery."""

    reading: str
    deliveries: tuple[str, ...]

    @classmethod
    def first(cls, recipe: Recipe, delivery: str) -> "Deliveries":
        """Return the record of a folder built from one delivery."""
        return cls(reading=_reading(recipe), deliveries=(delivery,))

    @classmethod
    def load(cls, folder: Path, recipe: Recipe) -> "Deliveries":
        """Read a folder's record and compare it with the recipe.

        Raises:
            TableInvalidError: the record is missing, damaged, or made by other reading rules.
        """
        path = folder / col.INGESTED_FILE
        try:
            saved = json.loads(path.read_bytes())
            found = cls(reading=saved["reading"], deliveries=tuple(saved["deliveries"]))
        except (OSError, ValueError, TypeError, KeyError) as err:
            raise TableInvalidError(
                f"{path}: cannot be read ({err}). Build the folder again without --append."
            ) from err
        if found.reading != _reading(recipe):
            raise TableInvalidError(
                f"{folder}: made with other [data], [columns] or [events] than the recipe "
                "has now. Build the folder again from all files, without --append."
            )
        return found

    def knows(self, delivery: str) -> bool:
        """Whether a delivery is in the folder already."""
        return delivery in self.deliveries

    def plus(self, delivery: str) -> "Deliveries":
        """Return the record with one delivery more."""
        return Deliveries(reading=self.reading, deliveries=(*self.deliveries, delivery))

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {"reading": self.reading, "deliveries": list(self.deliveries)}


def delivery_of(source: Source) -> str:
    """SHA-256 over the contents of a delivery's files."""
    names = ("interactions", "items", "users", "valid", "test")
    files = {name: getattr(source, name) for name in names}
    digests = {name: _digest(path) for name, path in files.items() if path is not None}
    return hashlib.sha256(canonical_json(digests)).hexdigest()


def _digest(path: Path) -> str | dict[str, str]:
    if path.is_file():
        return sha256_file(path)
    return {each.name: sha256_file(each.path) for each in table_files(path)}


def _reading(recipe: Recipe) -> str:
    # Without those that are not set, folders from before them can be added to.
    unset = {**dict.fromkeys((*col.AUDIENCE, col.USER_ID), ""), "timestamp_unit": "auto"}
    columns = {k: v for k, v in asdict(recipe.columns).items() if v != unset.get(k)}
    events = asdict(recipe.events)
    del events["values"]  # what a number means does not change how it is read
    rules = {
        "dataset": recipe.data.dataset,
        "columns": columns,
        "events": events,
    }
    if recipe.split.column:
        rules["fold"] = recipe.split.column
    if recipe.features.items:
        rules["features"] = {
            name: [feature.column or name, feature.kind, feature.length, feature.missing]
            for name, feature in recipe.features.items.items()
        }
    data, unset = asdict(recipe.data), asdict(DataConfig())
    own = {k: data[k] for k in _SPEC_KEYS if data[k] != unset[k]}
    own |= {k: v for k in ("interactions", "items", "users") if isinstance(v := data[k], dict)}
    if own:
        rules["data"] = own
    return hashlib.sha256(canonical_json(rules)).hexdigest()
