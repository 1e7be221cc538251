"""The texts of a kit, from templates: constants in the app's language, build files, the README."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from pocketrec_export.kit import versions as kit_versions
from pocketrec_export.kit.facts import Facts
from pocketrec_export.kit.languages import KOTLIN, SWIFT, TYPESCRIPT, Language

RELEASE_FOLDER = "pocketrec"
"""Name of the bundle's folder among an app's resources."""

MEANING = {
    "operators.txt": "operators of both models, for a runtime built for these alone",
    "required_operators.config": "the same for a build of ONNX Runtime",
    "ort/user_tower.ort": "the user tower for a minimal build of ONNX Runtime",
    "ort/ranker.ort": "the ranker for a minimal build of ONNX Runtime",
    "MODEL_CARD.md": "data, quality and licence of the release, for people",
}
"""What the README says of each file that may lie beside resources and sources."""

_RUNTIMES = {"litert": "TensorFlow Lite", "onnx": "ONNX Runtime"}
"""Whose versions `min_runtime` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an app of a target looks like.

    resources: where its build takes files from; files: the texts of the kit and the template of
    each, the source first.
    """

    language: Language
    resources: str
    files: Mapping[str, str]


PLATFORMS = {
    "android": Platform(
        language=KOTLIN,
        resources="src/main/assets",
        files={
            "src/main/kotlin/pocketrec/kit/PocketRecRelease.kt": "PocketRecRelease.kt.j2",
            "src/main/AndroidManifest.xml": "AndroidManifest.xml.j2",
            "build.gradle.kts": "build.gradle.kts.j2",
            "README.md": "README.md.j2",
        },
    ),
    "ios": Platform(
        language=SWIFT,
        resources="Sources/PocketRec/Resources",
        files={
            "Sources/PocketRec/PocketRecRelease.swift": "PocketRecRelease.swift.j2",
            "Package.swift": "Package.swift.j2",
            "README.md": "README.md.j2",
        },
    ),
    "web": Platform(
        language=TYPESCRIPT,
        resources="public",
        files={
            "src/pocketrec-release.ts": "pocketrec-release.ts.j2",
            "package.json": "package.json.j2",
            "README.md": "README.md.j2",
        },
    ),
}


def render(target: str, facts: Facts, beside: Collection[str], *, pinned: bool) -> dict[str, bytes]:
    """Return the texts of a kit by their path in it.

    Args:
        target: one of `PLATFORMS`.
        facts: of the release.
        beside: files of the kit that the README explains, from `MEANING`.
        pinned: a TUF root lies in the release's folder.
    """
    platform = PLATFORMS[target]
    language = platform.language
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(()),  # none of the pages is HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {
        "text": language.text,
        "literal": language.literal,
        "name": language.name,
        "type": lambda constant: language.types[constant.kind],
        "spoken": spoken,
    }
    constants = {constant.name: constant.value for constant in facts.constants}
    least = [str(model.file.meta.get("min_runtime", "")) for model in facts.models]
    values = {
        "facts": facts,
        "target": target,
        "platform": platform,
        "versions": kit_versions,
        "constants": constants,
        "engine": constants["engine"],
        "folder": RELEASE_FOLDER,
        "source": next(iter(platform.files)),
        "beside": [(path, MEANING[path]) for path in sorted(beside)],
        "pinned": pinned,
        "runtime": _RUNTIMES[str(constants["engine"])],
        "least_runtime": max(least, key=_version),
        "models_bytes": sum(model.file.bytes for model in facts.models),
        "bundle_bytes": sum({file.sha256: file.bytes for file in facts.files}.values()),
        "forced": any(model.file.meta.get("forced") for model in facts.models),
    }
    return {
        path: pages.get_template(name).render(values).encode()
        for path, name in platform.files.items()
    }


def spoken(text: str) -> str:
    """Return a text of the release for a line of Markdown, without what would be markup there."""
    return "".join(c if c.isprintable() and c not in "`|<>[]*_\\" else " " for c in text).strip()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))
