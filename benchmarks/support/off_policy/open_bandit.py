"""Open Bandit Data, small sample: slates of a fashion shop, logged by two policies.

Saito, Aihara, Matsutani, Narita (2021), Open Bandit Dataset and Pipeline, NeurIPS Datasets and
Benchmarks. The data are CC BY 4.0 (ZOZO, Inc.); the sample is in the wheel of `obp` 0.4.1 (Apache
2.0). It is read at run time, cached outside the project and never committed.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import sha256_file, write_atomic
from pocketrec_training.data.sources import cache_dir
from pocketrec_training.errors import DatasetUnavailableError

REQUIREMENT = "obp==0.4.1"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
CAMPAIGNS = ("all", "men", "women")
POLICIES = ("random", "bts")
MAX_BYTES = 16 << 20
"""Of one file; the largest has 5 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bandit:
    """The log of one policy on one page.

    Attributes:
        item: int64 [n].
        place: int64 [n], from 1.
        click: float64 [n], 0 or 1.
        propensity: float64 [n].
        feature: float64 [items], a number of each item.
    """

    item: NDArray[np.int64]
    place: NDArray[np.int64]
    click: NDArray[np.float64]
    propensity: NDArray[np.float64]
    feature: NDArray[np.float64]


def read(folder: Path, policy: str, campaign: str) -> Bandit:
    """Read the log of a policy (`POLICIES`) and a campaign (`CAMPAIGNS`) from `fetched`."""
    base = folder / policy / campaign
    with duckdb.connect() as connection:
        columns = connection.sql(
            "SELECT item_id, position, click, propensity_score FROM read_csv(?)",
            params=[str(base / f"{campaign}.csv")],
        ).fetchnumpy()
        items = connection.sql(
            "SELECT item_feature_0 FROM read_csv(?) ORDER BY item_id",
            params=[str(base / "item_context.csv")],
        ).fetchnumpy()
    return Bandit(
        item=np.asarray(columns["item_id"], np.int64),
        place=np.asarray(columns["position"], np.int64),
        click=np.asarray(columns["click"], np.float64),
        propensity=np.asarray(columns["propensity_score"], np.float64),
        feature=np.asarray(items["item_feature_0"], np.float64),
    )


def fetched() -> Path:
    """Return the folder of the sample, POLICY/CAMPAIGN/*.csv; download it the first time.

    Raises:
        DatasetUnavailableError: pip or the checksum failed.
    """
    folder = cache_dir() / "open-bandit" / SHA256[:16]
    wanted = [
        f"{policy}/{campaign}/{file}"
        for policy in POLICIES
        for campaign in CAMPAIGNS
        for file in (f"{campaign}.csv", "item_context.csv")
    ]
    if all((folder / name).is_file() for name in wanted):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _wheel(Path(scratch))
        with zipfile.ZipFile(wheel) as packed:
            for name in wanted:
                member = packed.getinfo(f"obp/dataset/obd/{name}")
                if member.file_size > MAX_BYTES:
                    raise DatasetUnavailableError(f"open-bandit: {name} is too large.")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_atomic(folder / name, packed.read(member))
    return folder


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    done = subprocess.run(  # noqa: S603 - a fixed command of our own
        [*command, str(folder), REQUIREMENT], capture_output=True, text=True, check=False
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        raise DatasetUnavailableError(
            f"open-bandit: pip could not get {REQUIREMENT}: {done.stderr}. Put the folders "
            f"random/ and bts/ of its obp/dataset/obd/ into a folder and name it with --data."
        )
    if sha256_file(found[0]) != SHA256:
        raise DatasetUnavailableError(f"open-bandit: the wheel's SHA-256 is not {SHA256}.")
    return found[0]
