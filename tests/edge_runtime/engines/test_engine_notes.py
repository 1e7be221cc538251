"""Notes of the engines' C++ code, written past `sys.stderr`, do not reach the user."""

import os
import subprocess
import sys
import threading

import pytest

from pocketrec_edge.engines.engine_notes import notes_dropped


def stderr_of(*words) -> str:
    """What `pocketrec` writes to stderr."""
    command = [sys.executable, "-m", "pocketrec", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_recommend_prints_no_note_of_the_engine(small_release, tmp_path, engine):
    words = ("device", "recommend", "--home", tmp_path, "--bundle", small_release)
    told = stderr_of(*words, "--engine", engine)
    assert told.startswith("model, ms: ")  # the models did run
    assert [line.partition(" ")[0] for line in told.splitlines()] == ["model,", "request"]


def test_verify_prints_no_note_of_the_engines(small_release):
    assert stderr_of("verify", small_release) == ""


def test_notes_are_dropped_and_what_others_write_is_passed_on(capfd):
    with notes_dropped():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nout of memory\n")
        os.write(2, b"\x1b[0;93m2026-01-01 00:00:00.123 [W:onnxruntime:Default, a.cc:1] no GPU\n")
        os.write(2, b"W0000 00:00:1796000000.000000    1 b.cc:2] note\nINFO:root:an app's own\n")
    os.write(2, b"INFO: after it\n")
    assert capfd.readouterr().err == "out of memory\nINFO:root:an app's own\nINFO: after it\n"


def test_an_error_inside_passes_and_the_descriptor_comes_back(capfd):
    with pytest.raises(ValueError, match="broken"), notes_dropped():
        raise ValueError("broken")
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_many_threads_leave_the_descriptor_as_it_was(capfd):
    def load():
        for _ in range(20):
            with notes_dropped():
                os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_models_load_where_there_is_no_stderr(small_release, tmp_path):
    code = (
        "import os, sys; os.close(2)\n"
        "from pathlib import Path\n"
        "from pocketrec_edge.device import Device\n"
        "device = Device(Path(sys.argv[1]), bundle=Path(sys.argv[2]))\n"
        "print(device.recommend().source)"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(small_release)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "model"
