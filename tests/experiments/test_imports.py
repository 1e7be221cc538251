"""The room's folders import what they may."""

import ast
from pathlib import Path

HEAVY = {"ibis", "tea_tasting", "duckdb", "scipy", "pyarrow"}
"""Libraries of the extra `train` that only some folders of the room may import."""


def test_only_the_analysis_imports_ibis_and_tea_tasting(repository: Path):
    room = repository / "experiments" / "pocketrec_experiments"
    for path in room.rglob("*.py"):
        place = path.relative_to(room)
        if place.parts[0] in ("analysis", "monitoring", "off_policy"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not HEAVY & {name.partition(".")[0] for name in names}, place
