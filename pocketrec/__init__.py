"""PocketRec: recommenders that live on the phone.

The names below are the library; each is imported from its room when it is first used, so that
`import pocketrec` loads no room and a phone needs neither TensorFlow nor Flask.

Tables become a run (`load_recipe`, `build_tables`, `train`, `evaluate`), a run a bundle
(`export_bundle`, `open_bundle`), a bundle a signed release (`make_keys`, `load_signers`,
`found_repository`, `publish`, `create_app`), and a release a slate (`Device`, `Answer`, `Fault`).
The other names are types of arguments and answers, such as `Filters` and `Evaluation`. Errors are
`PocketRecError`. The command line is `pocketrec.cli`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketrec.publishing import publish
    from pocketrec_bundle.errors import PocketRecError
    from pocketrec_bundle.reader import open_bundle
    from pocketrec_edge.answers import Answer
    from pocketrec_edge.device import Device
    from pocketrec_edge.device_status import Status
    from pocketrec_edge.faults import Fault, FaultCode
    from pocketrec_edge.recommend.explain import Explanation
    from pocketrec_edge.recommend.filters import Filters
    from pocketrec_export.build import export_bundle
    from pocketrec_export.report import ExportReport
    from pocketrec_server.app import create_app
    from pocketrec_server.repository.keys import load_signers, make_keys
    from pocketrec_server.repository.publish import PublishReport, found_repository
    from pocketrec_server.settings import Settings
    from pocketrec_training.data.ingest import build_tables
    from pocketrec_training.evaluation.evaluate import evaluate
    from pocketrec_training.evaluation.result import Evaluation
    from pocketrec_training.fits.report import TrainReport
    from pocketrec_training.recipe.load import load_recipe
    from pocketrec_training.train import train

__all__ = [
    "Answer",
    "Device",
    "Evaluation",
    "Explanation",
    "ExportReport",
    "Fault",
    "FaultCode",
    "Filters",
    "PocketRecError",
    "PublishReport",
    "Settings",
    "Status",
    "TrainReport",
    "build_tables",
    "create_app",
    "evaluate",
    "export_bundle",
    "found_repository",
    "load_recipe",
    "load_signers",
    "make_keys",
    "open_bundle",
    "publish",
    "train",
]

_PLACES = {
    "Answer": "pocketrec_edge.answers",
    "Device": "pocketrec_edge.device",
    "Evaluation": "pocketrec_training.evaluation.result",
    "Explanation": "pocketrec_edge.recommend.explain",
    "ExportReport": "pocketrec_export.report",
    "Fault": "pocketrec_edge.faults",
    "FaultCode": "pocketrec_edge.faults",
    "Filters": "pocketrec_edge.recommend.filters",
    "PocketRecError": "pocketrec_bundle.errors",
    "PublishReport": "pocketrec_server.repository.publish",
    "Settings": "pocketrec_server.settings",
    "Status": "pocketrec_edge.device_status",
    "TrainReport": "pocketrec_training.fits.report",
    "build_tables": "pocketrec_training.data.ingest",
    "create_app": "pocketrec_server.app",
    "evaluate": "pocketrec_training.evaluation.evaluate",
    "export_bundle": "pocketrec_export.build",
    "found_repository": "pocketrec_server.repository.publish",
    "load_recipe": "pocketrec_training.recipe.load",
    "load_signers": "pocketrec_server.repository.keys",
    "make_keys": "pocketrec_server.repository.keys",
    "open_bundle": "pocketrec_bundle.reader",
    "publish": "pocketrec.publishing",
    "train": "pocketrec_training.train",
}

_EXTRAS = {
    "pocketrec": "server",  # publish
    "pocketrec_export": "train",
    "pocketrec_server": "server",
    "pocketrec_training": "train",
}
"""The extra that installs what a room imports."""


def __getattr__(name: str) -> Any:
    """Import a public name from its room (PEP 562).

    Raises:
        AttributeError: the name does not exist.
        ModuleNotFoundError: the extra of the name is not installed.
    """
    if name not in _PLACES:
        raise AttributeError(f"module 'pocketrec' has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(_PLACES[name]), name)
    except ModuleNotFoundError as err:
        extra = _EXTRAS.get(_PLACES[name].partition(".")[0])
        if extra is None or err.name is None:
            raise
        raise ModuleNotFoundError(
            f"pocketrec.{name} needs {err.name}, which is not installed."
            f" Install it with: pip install 'pocketrec[{extra}]'",
            name=err.name,
        ) from err
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
