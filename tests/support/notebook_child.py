"""Run the code cells of a notebook in order, in one namespace; prints a result as JSON.

A process of its own, because training sets the threads and the seeds of its process.
"""

import contextlib
import io
import json
import resource
import sys
from pathlib import Path
from typing import Any


def run(notebook: Path) -> dict[str, Any]:
    """Run the cells; the first failing one raises, with its number as file name."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102
        printed.append(out.getvalue())
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "printed": printed,
        "before": [item.title for item in names["answer"].items],
        "source": names["answer"].source,
        "after": [item.title for item in names["items"]],
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))  # noqa: T201 (the result)
