"""Check a bundle before publishing: devices can use it, and its data is not older."""

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.golden.set_proof import check_sets
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.reader import Bundle

_ENGINES = ("litert", "onnx", "ort")
_MODELS = ("user_tower", "ranker")


def check_answers(bundle: Bundle) -> None:
    """Refuse a bundle that cannot produce a slate, or cannot be self-tested, on any device.

    The self-test itself needs an engine, which the server does not have: `pocketrec publish` runs
    it.

    Raises:
        BundleInvalidError: no engine has both models, an engine has only one of them, the bundle
            has no golden request, or a model set lacks its proof or a ranker for an engine.
    """
    manifest = bundle.manifest
    complete = False
    for engine in _ENGINES:
        missing = [model for model in _MODELS if not manifest.models(model, engine)]
        if len(missing) == 1:
            raise BundleInvalidError(
                f"{manifest.name}: has no {missing[0]} for {engine}, only the other model. Export "
                "it again."
            )
        complete |= not missing
    if not complete:
        raise BundleInvalidError(
            f"{manifest.name}: has no models, so no device could compute a slate. Expected "
            f"{' and '.join(_MODELS)} for {' or '.join(_ENGINES)}. Export it again."
        )
    n_cases = len(Golden.of(bundle).cases)
    check_sets(bundle, n_cases)
    if not n_cases:
        raise BundleInvalidError(
            f"{manifest.name}: golden.json has no case, so no device could run the self-test. "
            "Export it again."
        )


def check_not_older(new: Manifest, below: Manifest | None) -> None:
    """Refuse a release whose data ends before the data of the release that it replaces.

    Args:
        new: manifest of the release.
        below: manifest of the channel's newest release that is not killed; None for an empty
            channel.

    Raises:
        InputError: the data of the release is older.
    """
    if below is not None and new.created_utc < below.created_utc:
        days = (below.created_utc - new.created_utc) / 86_400
        raise InputError(
            f"{new.name}: its data ends {days:.1f} days before that of {below.name}, the newest "
            "release of the channel. Use `pocketrec rollout rollback` to return to a previous "
            "release, or add --older to publish this one."
        )
