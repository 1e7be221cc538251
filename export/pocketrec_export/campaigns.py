"""Read the campaigns of a release from the publisher's file."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES, parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.rules import Rules, Sponsored


def read_campaigns(
    path: Path, rules: Rules | None, ids: Sequence[str], available: NDArray[np.bool_]
) -> Campaigns:
    """Read and check campaigns for a release with these items.

    Args:
        path: TOML with a table `[[campaigns]]` each, or JSON as `campaigns.json` in
            `bundle/FORMAT.md`; the version may be left out of either.
        rules: the release's.
        ids: of its items.
        available: bool [N], False on withdrawn ones.

    Raises:
        InputError: the file cannot be read or is not of this form, a campaign's item is unknown or
            withdrawn, or the release has no sponsored places.
    """
    if rules is None or not any(isinstance(rule, Sponsored) for rule in rules.rules):
        raise InputError(
            f"{path}: the release has no places for campaigns. Set rerank.sponsored_places in the "
            "recipe, train and export."
        )
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: larger than {MAX_JSON_BYTES} bytes.")
        data = path.read_bytes()
        value = (
            tomllib.loads(data.decode()) if path.suffix == ".toml" else parse_json(str(path), data)
        )
        found = Campaigns.from_json({"version": 1, **value} if isinstance(value, dict) else value)
    except OSError as err:
        raise InputError(f"{path}: cannot be read ({err.strerror or err}).") from err
    except (BundleInvalidError, tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: {err}.") from err
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    for each in found.campaigns:
        row = row_of.get(each.item_id)
        if row is None or not available[row]:
            why = "unknown" if row is None else "withdrawn"
            raise InputError(
                f"{path}: campaign {each.id!r}: item {each.item_id!r} is {why}. Sponsor items that "
                "the release may recommend, or leave the campaign out."
            )
    return found
