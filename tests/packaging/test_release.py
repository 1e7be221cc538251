"""`make release` refuses what must not be tagged and finds what is wrong with a wheel."""

import hashlib
import importlib.util
import subprocess
import tarfile
import zipfile
from base64 import urlsafe_b64encode

import pytest

PYPROJECT = """
[project]
name = "pocketrec"
version = "1.2.3"
[tool.hatch.build.targets.wheel]
packages = ["edge/pocketrec_edge", "pocketrec"]
"""
FILES = {
    "pyproject.toml": PYPROJECT,
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 - 2026-11-30\n\n## 1.2.2 - 2026-11-01\n",
    "edge/pocketrec_edge/__init__.py": "",
    "edge/pocketrec_edge/py.typed": "",
    "edge/README.md": "not in the wheel",
    "pocketrec/__init__.py": "",
    "pocketrec/py.typed": "",
    "pocketrec/page.html": "<p>",
}
INFO = "pocketrec-1.2.3.dist-info"
METADATA = (
    "Metadata-Version: 2.4\nName: pocketrec\nVersion: 1.2.3\nLicense-Expression: Apache-2.0\n"
    "Description-Content-Type: text/markdown\n\nText"
)


@pytest.fixture(scope="module")
def release(repository):
    spec = importlib.util.spec_from_file_location("release", repository / ".ci" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    """A small project under version control, ready to be released as 1.2.3."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=n", "-c", "user.email=e@x.org", "commit", "--quiet", "-m", "First")
    return folder


def git(folder, *words):
    subprocess.run(["git", *words], cwd=folder, check=True)


def wheel_of(root, metadata=METADATA, without=(), more=(), record=None):
    """Write a wheel of the project by hand, whose RECORD fits unless one is given."""
    content = {
        name.removeprefix("edge/"): text.encode()
        for name, text in FILES.items()
        if "/" in name and name != "edge/README.md"
    }
    content = {name: text for name, text in content.items() if name not in without}
    content |= {f"{INFO}/METADATA": metadata.encode(), **dict.fromkeys(more, b"")}
    lines = [f"{name},sha256={hashed(text)},{len(text)}" for name, text in content.items()]
    content[f"{INFO}/RECORD"] = (record or "\n".join([*lines, f"{INFO}/RECORD,,"])).encode()
    path = root.parent / "pocketrec-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        for name, text in content.items():
            opened.writestr(name, text)
    return path


def hashed(content):
    return urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def test_a_dated_clean_untagged_commit_is_ready(release, root):
    assert list(release.faults_of_commit(root, "1.2.3")) == []


def test_a_modified_tree_is_refused(release, root):
    (root / "pocketrec" / "new.py").write_text("")
    (fault,) = release.faults_of_commit(root, "1.2.3")
    assert "pocketrec/new.py" in fault


@pytest.mark.parametrize(
    ("changelog", "word"),
    [
        ("## 1.2.3 - unreleased\n", "'unreleased'"),
        ("## 1.2.2 - 2026-11-01\n", "newest section is 1.2.2"),
        ("## 1.2.4 - unreleased\n\n## 1.2.3 - 2026-11-30\n", "newest section is 1.2.4"),
        ("Nothing\n", "newest section is none"),
    ],
)
def test_a_changelog_without_the_dated_version_is_refused(release, root, changelog, word):
    (root / "CHANGELOG.md").write_text(changelog)
    git(root, "-c", "user.name=n", "-c", "user.email=e@x.org", "commit", "--quiet", "-am", "Change")
    (fault,) = release.faults_of_commit(root, "1.2.3")
    assert word in fault


def test_a_tag_that_exists_is_refused(release, root):
    git(root, "tag", "v1.2.3")
    (fault,) = release.faults_of_commit(root, "1.2.3")
    assert "v1.2.3 exists" in fault


def test_a_sound_wheel_has_no_fault(release, root):
    assert list(release.faults_of_wheel(wheel_of(root), root, "1.2.3")) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"more": ["benchmarks/__init__.py"]}, "no packages of ours: benchmarks"),
        ({"more": ["pocketrec/left_over.py"]}, "pocketrec/left_over.py"),
        ({"without": ["pocketrec/page.html"]}, "pocketrec/page.html"),
        ({"without": ["pocketrec_edge/__init__.py"]}, "pocketrec_edge/__init__.py"),
        ({"metadata": METADATA.replace("1.2.3", "1.2.2")}, "Version is 1.2.2, not 1.2.3"),
        ({"metadata": METADATA.replace("text/markdown", "text/plain")}, "Content-Type is text/pl"),
        ({"record": f"pocketrec/page.html,sha256={hashed(b'else')},4"}, "hash of pocketrec/page"),
    ],
)
def test_a_fault_of_a_wheel_is_named(release, root, change, word):
    (fault,) = release.faults_of_wheel(wheel_of(root, **change), root, "1.2.3")
    assert word in fault


def test_a_package_without_a_type_marker_is_named(release, root):
    git(root, "rm", "--quiet", "pocketrec/py.typed")
    wheel = wheel_of(root, without=["pocketrec/py.typed"])
    (fault,) = release.faults_of_wheel(wheel, root, "1.2.3")
    assert "pocketrec/py.typed" in fault


def test_an_import_name_that_may_collide_is_named(release, root):
    text = PYPROJECT.replace('"pocketrec"]', '"pocketrec", "training"]')
    (root / "pyproject.toml").write_text(text)
    (root / "training").mkdir()
    (root / "training" / "py.typed").write_text("")
    git(root, "add", "--all")
    wheel = wheel_of(root, more=["training/py.typed"])
    (fault,) = release.faults_of_wheel(wheel, root, "1.2.3")
    assert "package training: its import name may collide" in fault


def test_an_archive_that_lacks_a_file_is_named(release, root):
    path = root.parent / "pocketrec-1.2.3.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        for name in sorted(set(FILES) - {"pocketrec/page.html"}):
            opened.add(root / name, f"pocketrec-1.2.3/{name}")
    (fault,) = release.faults_of_archive(path, root)
    assert "lacks 1 tracked files, e.g. pocketrec/page.html" in fault
