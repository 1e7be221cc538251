"""What a bundle must be before a channel offers it to phones: it answers, and it is not older."""

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.reader import Bundle

_ENGINES = ("litert", "onnx", "ort")
_MODELS = ("user_tower", "ranker")


def check_answers(bundle: Bundle) -> None:
    """Refuse a bundle from which no phone can compute a slate, or that no phone can self-test.

    A self-test itself takes a runtime, which this room has not: `pocketrec publish` runs it.

    Raises:
        BundleInvalidError: no engine has both models, an engine has one of them only, or there is
            no golden request.
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
            f"{manifest.name}: has no models, so no phone could compute a slate. Expected "
            f"{' and '.join(_MODELS)} for {' or '.join(_ENGINES)}. Export it again."
        )
    if not Golden.of(bundle).cases:
        raise BundleInvalidError(
            f"{manifest.name}: golden.json has no case, so no phone could test itself. Export it "
            "again."
        )


def check_not_older(new: Manifest, below: Manifest | None) -> None:
    """Refuse a release whose data ends before that of the release which it would replace.

    Args:
        new: of the release.
        below: of the newest release of the channel that is not killed; None: there is none.

    Raises:
        InputError: it is older.
    """
    if below is not None and new.created_utc < below.created_utc:
        days = (below.created_utc - new.created_utc) / 86_400
        raise InputError(
            f"{new.name}: its data ends {days:.1f} days before that of {below.name}, the newest "
            "release of the channel. Go back to a release by `pocketrec rollout rollback`, or add "
            "--older to publish it all the same."
        )
