"""Files and their list: damaged, swapped, missing, or no files at all."""

import copy
import hashlib

from numpy.random import Generator

from pocketrec_export.conformance.sound import ODD, Base, Mutant, encode, pick

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
NAMES = ("../x", "/etc/passwd", "a/../../b", "a//b", "A", "a/b/c/d/e", "", ".", "a\x00b", "a" * 300)


def damaged(data: bytes, rng: Generator) -> bytes:
    """Flip bits, cut, lengthen, or blank a stretch."""
    changed = bytearray(data)
    how = pick(rng, ("flip", "flip", "cut", "lengthen", "blank", "insert"))
    at = int(rng.integers(len(data) + 1))
    if how == "flip":
        for place in rng.integers(len(data), size=int(rng.integers(1, 9))) if data else ():
            changed[place] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del changed[at:]
    elif how == "lengthen":
        changed += bytes(int(rng.integers(1, 5000)))
    elif how == "blank":
        stop = min(len(data), at + int(rng.integers(1, 600)))
        changed[at:stop] = bytes([pick(rng, (0, 255))]) * (stop - at)
    else:
        changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(changed)


def disk_damage(base: Base, rng: Generator) -> Mutant:
    """A file changes under a manifest that does not."""
    name = pick(rng, base.files)
    blobs = {base.sha256(name): damaged(base.files[name], rng)}
    return Mutant(manifest=base.manifest_data, blobs=blobs)


def disk_swap(base: Base, rng: Generator) -> Mutant:
    """Two files change places, or one takes the other's."""
    one, two = pick(rng, base.files), pick(rng, base.files)
    blobs = {base.sha256(one): base.files[two]}
    if rng.random() < 0.5:
        blobs[base.sha256(two)] = base.files[one]
    return Mutant(manifest=base.manifest_data, blobs=blobs)


def manifest_damage(base: Base, rng: Generator) -> Mutant:
    """The manifest's bytes are damaged."""
    return Mutant(manifest=damaged(base.manifest_data, rng))


def odd_file(base: Base, rng: Generator) -> Mutant:
    """Something else lies where a file should; for half of them the manifest expects 0 bytes."""
    what = pick(rng, ODD)
    if rng.random() < 0.1:
        return Mutant(manifest=base.manifest_data, odd=("manifest.json", what))
    name = pick(rng, base.files)
    if rng.random() < 0.5:
        return Mutant(manifest=base.manifest_data, odd=(f"files/{base.sha256(name)}", what))
    empty = base.signed({name: b""})
    return Mutant(manifest=empty.manifest, odd=(f"files/{EMPTY_SHA256}", what))


def signed_damage(base: Base, rng: Generator) -> Mutant:
    """A file is damaged and the manifest made to fit."""
    name = pick(rng, base.files)
    return base.signed({name: damaged(base.files[name], rng)})


def names_swapped(base: Base, rng: Generator) -> Mutant:
    """Two names exchange their files, with hashes that fit."""
    one, two = pick(rng, base.files), pick(rng, base.files)
    return base.signed({one: base.files[two], two: base.files[one]})


def files_listed(base: Base, rng: Generator) -> Mutant:
    """The list of files lacks some, names new ones, or names one file thousands of times."""
    manifest = copy.deepcopy(base.manifest)
    entries = manifest["files"]
    how = pick(rng, ("without", "more", "renamed", "many", "order"))
    if how == "without":
        del entries[int(rng.integers(len(entries)))]
    elif how == "more":
        return base.signed({f"extra/{rng.integers(99)}": rng.bytes(10)})
    elif how == "renamed":
        pick(rng, entries)["name"] = pick(rng, NAMES)
    elif how == "many":
        entries += [entries[-1] | {"name": f"z/{i:04}"} for i in range(pick(rng, (9, 3000, 5000)))]
    else:
        rng.shuffle(entries)
    return Mutant(manifest=encode(manifest))
