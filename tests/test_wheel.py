"""The wheel holds names of our own, and works in a folder with modules named like the rooms."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs the dev extra")

OURS = {
    "pocketrec",
    "pocketrec_bundle",
    "pocketrec_training",
    "pocketrec_export",
    "pocketrec_edge",
    "pocketrec_server",
    "pocketrec_experiments",
}
ROOMS = (
    "bundle",
    "training",
    "export",
    "edge_runtime",
    "sync_server",
    "experiments",
    "benchmarks",
    "tests",
)


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory) -> Path:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    words = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run([sys.executable, *words], cwd=repository, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory) -> Path:
    """Python of an environment with the wheel and what this environment has, less the checkout."""
    home = tmp_path_factory.mktemp("env") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    site = Path(done.stdout.strip())
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    # Python reads no .pth file of a folder that one names, so the editable install stays outside.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Folder of a user with modules that are called like the rooms and fail when imported."""
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong module')\n")
    return tmp_path


def test_the_wheel_holds_names_of_the_project_only(wheel: Path):
    with zipfile.ZipFile(wheel) as packed:
        tops = {name.partition("/")[0] for name in packed.namelist()}
        assert "pocketrec_server/monitoring/assets/pocketrec-alerts.yaml" in packed.namelist()
    assert {top for top in tops if not top.endswith(".dist-info")} == OURS


@pytest.mark.parametrize("how", ["wheel", "checkout"])
def test_folders_named_like_rooms_do_not_shadow_ours(how, installed, foreign, tiny_release):
    python = installed if how == "wheel" else sys.executable
    paths = ["."] if how == "wheel" else [".", *sys.path]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)

    def run(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [python, *map(str, words)],
            cwd=foreign,
            env=environment,
            capture_output=True,
            text=True,
        )

    names = sorted(OURS | {"pocketrec_edge.device", "pocketrec_server.app", "pocketrec_export"})
    done = run("-c", "\n".join(f"import {name}" for name in names))
    assert done.returncode == 0, done.stderr
    done = run("-m", "pocketrec", "inspect", tiny_release, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    done = run("-m", "pocketrec", "bench", "--help")
    assert done.returncode == 0, done.stderr
    assert ("not in the wheel" if how == "wheel" else "golden-mutations") in done.stdout


def test_a_benchmark_without_the_checkout_says_where_it_is(installed, foreign):
    words = ["-m", "pocketrec", "bench", "demo", "--json", "x.json"]
    done = subprocess.run([installed, *words], cwd=foreign, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "checkout of the repository" in done.stderr
