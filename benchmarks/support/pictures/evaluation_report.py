"""Photograph the report of an evaluation for the guides, as a desktop and as a phone show it.

python -m benchmarks.support.pictures.evaluation_report work/report --out docs/images
"""

import argparse
from pathlib import Path

from benchmarks.support.pictures.chromium import find_chromium, open_tab

SCREENS = ((1200, 1000, "light"), (390, 844, "dark"))
"""Width and height in pixels, and the colour scheme."""


def photograph(report: Path, out: Path, chromium: str) -> list[Path]:
    """Write one PNG a screen, with the top of the page.

    Args:
        report: `evaluation.html`.
        out: folder for the pictures.
        chromium: the browser.

    Raises:
        RuntimeError: the page complained in the browser's console.
    """
    made = []
    with open_tab(chromium) as tab:
        for width, height, scheme in SCREENS:
            tab.show_as(width, scheme, height)
            tab.go(report.resolve().as_uri())
            made.append(out / f"evaluation-{scheme}-{width}.png")
            tab.photograph(made[-1])
        if tab.complaints:
            raise RuntimeError(f"{report}: {'; '.join(tab.complaints)}")
    return made


def main() -> None:
    """Read the arguments and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="folder of `pocketrec evaluate --out`")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        parser.error("needs chromium")
    given.out.mkdir(parents=True, exist_ok=True)
    for path in photograph(given.report / "evaluation.html", given.out, chromium):
        print(path)


if __name__ == "__main__":
    main()
