"""Test a bundle before it is published, as `pocketrec verify` does."""

from collections.abc import Callable
from pathlib import Path

from pocketrec_bundle.errors import PocketRecError


class SelfTestRefusedError(PocketRecError):
    """The models of a bundle fail on this machine; exit code 3."""

    exit_code = 3


def self_tested(folder: Path, warn: Callable[[str], None]) -> None:
    """Run a bundle's models and golden requests on the runtimes of this machine.

    Args:
        folder: of the bundle.
        warn: receives a sentence if an engine of the bundle has no runtime here.

    Raises:
        BundleInvalidError: the bundle fails its checks.
        EngineError: no runtime is here for any of its models.
        SelfTestRefusedError: the models fail as in `pocketrec verify`.
    """
    from pocketrec_bundle.reader import open_bundle
    from pocketrec_edge.engines.select import KINDS, runtime
    from pocketrec_edge.errors import EngineError
    from pocketrec_edge.releases.verify import verify
    from pocketrec_server.repository.publishable import check_answers

    bundle = open_bundle(folder)
    check_answers(bundle)
    shipped = [kind for kind in KINDS if bundle.manifest.models("user_tower", kind)]
    unproved = [kind for kind in shipped if not runtime(kind)]
    name = bundle.manifest.name
    if unproved == shipped:
        raise EngineError(
            f"{name}: this machine has no runtime for its models ({', '.join(shipped)}), so they "
            "cannot be tested here. Install one with: pip install 'pocketrec[edge]'; or run "
            "`pocketrec verify` elsewhere and add --no-self-test (in Python: self_test=False)."
        )
    if unproved:
        warn(f"{name}: not tested here, no runtime: {', '.join(unproved)}")
    found = verify(bundle)
    failed = [
        *(
            f"{row.model} {f'of set {row.set} ' if row.set else ''}{row.engine} {row.variant}: "
            f"{row.note}"
            for row in found.files
            if row.default and row.status == "failed"
        ),
        *(
            f"golden requests on {row.runtime}: {row.note or 'a stage differs'}"
            for row in found.slates
            if not row.passed
        ),
    ]
    if not found.passed:
        raise SelfTestRefusedError(
            f"{name}: fails the self-test, so phones would refuse it: {'; '.join(failed)}. Export "
            "it again; `pocketrec verify` shows each file."
        )
