"""One fault, and the few ways to make one."""

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_export.conformance.sound import Base, Mutant, encode

OPEN, TEXTS, SELF_TEST, ALL_TEXTS = STEPS = ("open", "texts", "self-test", "all-texts")
"""When a reader must refuse at the latest.

On opening; on looking up titles; before the release becomes active; on reading all titles in one
pass, which phones do not.
"""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One fault of a bundle.

    Attributes:
        name: of its folder.
        code: FORMAT.md, "Error codes".
        fault: what is wrong, for people.
        make: returns the sound bundle with the fault.
        step: of `STEPS`.
        version: format version of the sound bundle.
        golden: whether it needs the larger golden files.
    """

    name: str
    code: str
    fault: str
    make: Callable[[Base], Mutant]
    step: str = OPEN
    version: int = 2
    golden: bool = False


def manifest(change: Callable[[Any], Any]) -> Callable[[Base], Mutant]:
    """Change the parsed manifest in place, or return another value."""

    def make(base: Base) -> Mutant:
        value = copy.deepcopy(base.manifest)
        changed = change(value)
        return Mutant(manifest=encode(value if changed is None else changed))

    return make


def raw_manifest(change: Callable[[bytes], bytes]) -> Callable[[Base], Mutant]:
    """Change the manifest's bytes."""
    return lambda base: Mutant(manifest=change(base.manifest_data))


def blob(name: str, change: Callable[[bytes], bytes]) -> Callable[[Base], Mutant]:
    """Change a file on the disk, under a manifest that stays."""
    return lambda base: Mutant(
        manifest=base.manifest_data, blobs={base.sha256(name): change(base.files[name])}
    )


def odd(name: str, what: str) -> Callable[[Base], Mutant]:
    """Put something else in a file's place: "missing" or "directory"."""

    def make(base: Base) -> Mutant:
        path = "manifest.json" if name == "manifest.json" else f"files/{base.sha256(name)}"
        return Mutant(manifest=base.manifest_data, odd=(path, what))

    return make


def signed(
    name: str, change: Callable[[bytes], bytes], gone: Iterable[str] = ()
) -> Callable[[Base], Mutant]:
    """Change a file, and the manifest to fit."""
    return lambda base: base.signed({name: change(base.files.get(name, b""))}, gone)


def without(*names: str) -> Callable[[Base], Mutant]:
    """Take files out of the manifest."""
    return lambda base: base.signed({}, names)


def parsed(name: str, change: Callable[[Any], Any]) -> Callable[[Base], Mutant]:
    """Change a JSON file in place, or return another value; the manifest fits."""

    def make(base: Base) -> Mutant:
        value = json.loads(base.files[name])
        changed = change(value)
        return base.signed({name: encode(value if changed is None else changed)})

    return make


def arrays(change: Callable[[Arrays], Arrays]) -> Callable[[Base], Mutant]:
    """Replace some arrays; `change` receives copies of all."""

    def make(base: Base) -> Mutant:
        found = change({name: array.copy() for name, array in base.arrays.items()})
        return base.signed({name: encode_array(array) for name, array in found.items()})

    return make


def edited(
    name: str, edit: Callable[[NDArray[Any]], NDArray[Any] | None]
) -> Callable[[Base], Mutant]:
    """Change one array in place, or return another."""

    def change(found: Arrays) -> Arrays:
        made = edit(found[name])
        return {name: found[name] if made is None else made}

    return arrays(change)


def setting(*path: Any, to: Any) -> Callable[[Any], None]:
    """Return a change that sets what lies at a path of keys and places."""

    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


def dropping(*path: Any) -> Callable[[Any], None]:
    """Return a change that removes what lies at a path of keys and places."""

    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change
