"""What the device's extras ask for on each system; `make lock-check` resolves them with uv."""

import tomllib

import pytest
from packaging.requirements import Requirement

RUNTIMES = {"ai-edge-litert", "onnxruntime", "tflite-runtime"}
SYSTEMS = {
    "windows": {"sys_platform": "win32", "platform_machine": "AMD64"},
    "macos": {"sys_platform": "darwin", "platform_machine": "arm64"},
    "linux aarch64": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "linux x86-64": {"sys_platform": "linux", "platform_machine": "x86_64"},
}
# tflite-runtime 2.14 has wheels for these only, and they need numpy 1.
ENDED = {("linux aarch64", "3.11"), ("linux x86-64", "3.11")}


@pytest.fixture(scope="module")
def extras(repository):
    value = tomllib.loads((repository / "pyproject.toml").read_text())
    return value["project"]["optional-dependencies"]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("extra", ["edge", "onnx", "tflite"])
def test_each_extra_of_the_device_brings_one_runtime_that_has_wheels(extras, extra, system, python):
    environment = SYSTEMS[system] | {"python_version": python, "python_full_version": f"{python}.7"}
    wanted = [Requirement(each) for each in extras[extra]]
    found = {r.name for r in wanted if r.marker is None or r.marker.evaluate(environment)}
    runtime = "onnxruntime" if extra == "onnx" else "ai-edge-litert"
    if extra == "tflite" and (system, python) in ENDED:
        runtime = "tflite-runtime"
    assert found & RUNTIMES == {runtime}
    assert {"tuf", "urllib3", "securesystemslib"} <= found
    assert ("numpy" in found) == (runtime == "tflite-runtime")


def test_only_the_extras_that_write_or_read_parquet_bring_pyarrow(extras):
    found = {
        name for name, lines in extras.items() if {Requirement(e).name for e in lines} & {"pyarrow"}
    }
    assert found == {"train", "events"}


def test_lock_check_covers_the_systems_and_extras_that_are_named(repository):
    text = (repository / "Makefile").read_text()
    for each in (
        "x86_64-pc-windows-msvc",
        "aarch64-apple-darwin",
        "aarch64-manylinux",
        "edge onnx",
    ):
        assert each in text
