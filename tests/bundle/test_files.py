import resource
import signal
import subprocess
import sys

import pytest

from bundle.errors import PocketRecError
from bundle.files import canonical_json, recover_dir, replace_dir, sha256_file, write_atomic


def test_canonical_json_does_not_depend_on_key_order():
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_sha256_of_a_known_text(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_recover_dir_puts_the_old_folder_back_only_where_none_is(tmp_path):
    final, aside = tmp_path / "final", tmp_path / ".final.old"
    recover_dir(final)
    assert not final.exists()
    aside.mkdir()
    (aside / "f").write_text("1")
    recover_dir(final)
    assert (final / "f").read_text() == "1"
    aside.mkdir()
    recover_dir(final)
    assert (final / "f").exists()


def test_replace_dir_swaps_whole_folders(tmp_path):
    for name, text in (("new", "2"), ("final", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)
    replace_dir(tmp_path / "new", tmp_path / "final")
    assert [p.name for p in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final" / "f").read_text() == "2"


def test_file_too_large_for_the_disk_leaves_the_old_content(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import sys; from pathlib import Path; from bundle.files import write_atomic\n"
        "from bundle.errors import PocketRecError\n"
        "try: write_atomic(Path(sys.argv[1]), b'n' * 5000)\n"
        "except PocketRecError as err: print(err); sys.exit(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 1
    assert "no space left" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PocketRecError, match="file"):
        write_atomic(tmp_path / "file" / "x", b"1")
