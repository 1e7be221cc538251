"""Fixtures that every room's tests share."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets; POCKETREC_DATA, or the one beside the checkout."""
    folder = Path(os.environ.get("POCKETREC_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set POCKETREC_DATA to the folder that has them")
    return folder


@pytest.fixture
def runner() -> CliRunner:
    """Runs `pocketrec` commands in this process."""
    return CliRunner()
