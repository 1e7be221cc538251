"""The README: its Python runs, its pictures are well-formed, its size stays small."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.support.pictures import phone_picture
from pocketrec_edge.device import Device

SVG = "{http://www.w3.org/2000/svg}"


def test_the_python_of_the_readme_recommends_offline(
    repository: Path, tiny_release: Path, tmp_path: Path
):
    text = (repository / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    statements = [line for line in code.splitlines() if line.strip()]
    assert len(statements) <= 12
    assert any(line.startswith("forbid_sockets()") for line in statements)
    shutil.copytree(tiny_release, tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = Device(tmp_path / "other")
    expected.install(tmp_path / "bundle")
    items = expected.recommend(10).items
    expected.close()
    assert len(items) >= 5
    assert done.stdout.splitlines() == [f"{item.title} - {item.reason}" for item in items]
    answer = Device(tmp_path / "phone")
    assert answer.recommend(1).history == 1, "the like is in the phone's log"
    answer.close()


def test_readme_is_under_120_lines(repository: Path):
    assert len((repository / "README.md").read_text().splitlines()) < 120


def test_pictures_of_the_readme_are_well_formed_and_named(repository: Path):
    text = (repository / "README.md").read_text()
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert {name for _, name in pictures} == {"docs/images/phone.svg", "docs/images/flow.svg"}
    for alternative, name in pictures:
        assert len(alternative) > 20
        root = ElementTree.parse(repository / name).getroot()  # noqa: S314 - our own file
        assert root.find(f"{SVG}title") is not None
        assert root.find(f"{SVG}desc") is not None


@pytest.mark.parametrize("name", ["flow.svg", "phone.svg"])
def test_a_picture_is_legible_on_light_and_on_dark_pages(repository: Path, name: str):
    # An opaque page lies below everything, so no text depends on the reader's background.
    path = repository / "docs" / "images" / name
    root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
    shapes = [each for each in root if each.tag == f"{SVG}rect"]
    assert shapes[0].get("class") == "page"
    width, height = (float(each) for each in root.attrib["viewBox"].split()[2:])
    assert float(shapes[0].attrib["width"]) >= width - 2
    assert float(shapes[0].attrib["height"]) >= height - 2


def test_the_flow_follows_the_readers_colour_scheme(repository: Path):
    text = (repository / "docs" / "images" / "flow.svg").read_text()
    assert "@media (prefers-color-scheme: dark)" in text


def test_the_phone_is_drawn_from_its_stored_lists(repository: Path):
    images = repository / "docs" / "images"
    lists = phone_picture.read_lists(images / "phone.json")
    assert (images / "phone.svg").read_text() == phone_picture.draw(lists)
    assert lists.liked in {line.item_id for line in lists.before}
    assert lists.liked not in {line.item_id for line in lists.after}
    assert all(line.reason for line in [*lists.before, *lists.after])


def test_a_phone_is_asked_and_drawn(repository: Path, tiny_release: Path, tmp_path: Path):
    phone = Device(tmp_path / "phone")
    phone.install(tiny_release)
    phone.close()
    home = sorted(path.name for path in (tmp_path / "phone").rglob("*"))
    words = [
        "-m",
        "benchmarks.support.pictures.phone_picture",
        str(tmp_path),
        "--home",
        str(tmp_path / "phone"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), *sys.path])}
    subprocess.run([sys.executable, *words], check=True, env=environment, cwd=tmp_path)
    lists = phone_picture.read_lists(tmp_path / "phone.json")
    assert (len(lists.before), lists.n_events) == (8, 0)
    assert lists.after
    assert lists.liked == lists.before[0].item_id
    root = ElementTree.parse(tmp_path / "phone.svg").getroot()  # noqa: S314 - our own file
    text = "".join(root.itertext())
    assert lists.before[0].title in text
    # It asks a copy: the phone itself stays as it is.
    assert home == sorted(path.name for path in (tmp_path / "phone").rglob("*"))
