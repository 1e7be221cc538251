"""Write the page, and the claims of a README: `python -m benchmarks.results_page PAGE [README]`."""

import sys
from pathlib import Path

from benchmarks.results_page.page import page, read_runs
from benchmarks.results_page.readme import with_claims


def main(words: list[str]) -> None:
    """Write PAGE, then the claims of README if one is named."""
    if len(words) not in (1, 2):
        sys.exit(__doc__)
    runs = read_runs()
    Path(words[0]).write_text(page(runs))
    for name in words[1:]:
        readme = Path(name)
        readme.write_text(with_claims(readme.read_text(), runs))


if __name__ == "__main__":
    main(sys.argv[1:])
