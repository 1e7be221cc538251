"""Verify a bundle where only the last tflite-runtime is installed, as on phones of its time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT, ROOT / "bundle", ROOT / "edge_runtime")
PACKAGES = ("tflite-runtime==2.14.0", "numpy<2", "click>=8.1")


def verify_there(bundle: Path, work: Path) -> dict[str, Any] | None:
    """Return what `pocketrec verify --json` prints there; None where pip brings no such runtime.

    Args:
        bundle: to verify.
        work: folder in which the environment is made.
    """
    venv = work / "tflite-runtime"
    python = venv / "bin" / "python"
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if not python.exists():
        words = ["-m", "venv", "--without-pip", str(venv)]
        subprocess.run([sys.executable, *words], check=True)  # noqa: S603
        words = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
        done = subprocess.run(  # noqa: S603
            [sys.executable, *words, "--disable-pip-version-check", *PACKAGES],
            capture_output=True,
            text=True,
            env=alone,
        )
        if done.returncode:
            python.unlink()
            sys.stderr.write(
                f"no tflite-runtime here, its rows are left out: {done.stderr[-300:]}\n"
            )
            return None
    told = subprocess.run(  # noqa: S603
        [str(python), "-m", "pocketrec", "verify", str(bundle), "--json"],
        capture_output=True,
        text=True,
        env={**alone, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))},
    )
    if not told.stdout:
        raise RuntimeError(f"verify failed under tflite-runtime: {told.stderr[-500:]}")
    found: dict[str, Any] = json.loads(told.stdout)
    return found
