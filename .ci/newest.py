"""What `make newest` installs, and how it differs from the lock.

    newest.py requirements [--without-caps]   the requirements of the extras, one a line
    newest.py report REQUIREMENTS.TXT         versions here that differ from a lock

The environment that runs this needs the package `packaging`.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

EXTRAS = ("train", "edge", "server", "events", "docs", "dev")
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def without_cap(requirement: Requirement) -> Requirement:
    """Drop upper bounds; a pin becomes a lower bound, so that pip does not go below it.

    >>> str(without_cap(Requirement("duckdb>=1.4,<2")))
    'duckdb>=1.4'
    >>> str(without_cap(Requirement("tensorflow-cpu==2.21.0; sys_platform != 'darwin'")))
    'tensorflow-cpu>=2.21.0; sys_platform != "darwin"'
    """
    kept = []
    for each in requirement.specifier:
        if each.operator in ("==", "~="):
            kept.append(f">={each.version.removesuffix('.*')}")
        elif each.operator in (">=", ">", "!="):
            kept.append(str(each))
    requirement.specifier = SpecifierSet(",".join(kept))
    return requirement


def requirements(pyproject: str, *, caps: bool) -> Iterator[str]:
    """Yield what the project and `EXTRAS` ask for, with its upper bounds or without them."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(each for name in EXTRAS for each in extras[name])]
    for each in dict.fromkeys(asked):
        requirement = Requirement(each)
        yield str(requirement if caps else without_cap(requirement))


def differences(locked: str, here: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each package whose version here is not the locked one, by name."""
    lock = {canonicalize_name(name): version for name, version in _LOCKED.findall(locked)}
    found = {canonicalize_name(name): version for name, version in here}
    for name in sorted(lock.keys() | found.keys()):
        if lock.get(name) != found.get(name):
            yield f"{name:32} {lock.get(name, '-'):18} {found.get(name, '-')}"


def main(words: list[str]) -> None:
    """Run one of the two commands of the module's docstring."""
    root = Path(__file__).parent.parent
    if words[0] == "requirements":
        lines = list(
            requirements(
                (root / "pyproject.toml").read_text(), caps="--without-caps" not in words[1:]
            )
        )
    else:
        here = [(each.metadata["Name"], each.version) for each in distributions()]
        lines = [f"{'package':32} {'lock':18} here"]
        lines += differences(Path(words[1]).read_text(), here)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
