"""The server where only the extra `server` is installed: no pyarrow, no engine, no TensorFlow."""

import os
import subprocess
import time

import pytest
import urllib3

from pocketrec_server.storage.database import default_url, open_database

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@pytest.fixture
def run(environment, tmp_path):
    """Return a function that runs a command of the environment, outside the checkout."""

    def run(*words):
        return subprocess.run(
            list(map(str, (environment("server") / words[0], *words[1:]))),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
        )

    return run


def test_it_installs_neither_pyarrow_nor_a_runtime(run):
    names = ("pyarrow", "pandas", "tensorflow", "ai_edge_litert", "onnxruntime", "boto3", "flask")
    code = f"import importlib.util as u; print(*[n for n in {names} if u.find_spec(n)])"
    assert run("python", "-c", code).stdout.split() == ["flask"]


def test_the_server_serves_a_release(environment, tiny_repo, tmp_path):
    port_file = tmp_path / "port"
    words = ["serve", "--repo", tiny_repo, "--port", "0", "--port-file", port_file, "--no-log"]
    child = subprocess.Popen(
        list(map(str, (environment("server") / "pocketrec", *words))),
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    try:
        end = time.monotonic() + 60
        while not port_file.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        address = f"http://127.0.0.1:{port_file.read_text()}"
        assert urllib3.request("GET", f"{address}/readyz").status == 200
        assert urllib3.request("GET", f"{address}/metadata/timestamp.json").status == 200
    finally:
        child.terminate()
        assert child.wait(30) == 0


def test_events_are_counted_but_their_export_names_the_extra(run, tiny_repo, tmp_path):
    open_database(default_url(tiny_repo)).dispose()
    counted = run("pocketrec", "events", "stats", "--repo", tiny_repo)
    assert (counted.returncode, counted.stderr) == (0, "")
    out = tmp_path / "events"
    done = run("pocketrec", "events", "export", "--repo", tiny_repo, "--out", out)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'pocketrec[events]'" in done.stderr
    assert not out.exists()
