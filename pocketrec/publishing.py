"""Publish a bundle after its self-test.

The server's package cannot import the device's, which runs the models, so the two meet here.
"""

from collections.abc import Callable
from pathlib import Path

from pocketrec.self_test import self_tested
from pocketrec_server.experiments.signing import misfits
from pocketrec_server.repository import publish as repository
from pocketrec_server.repository.history import NOBODY, Note
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.publish import KEEP, PublishReport


def publish(
    *,
    bundle: Path,
    repo: Path,
    signers: Signers,
    channel: str = "stable",
    percent: float | None = None,
    deltas: int = KEEP,
    name: str | None = None,
    older: bool = False,
    app_least: str | None = None,
    self_test: bool = True,
    note: Note = NOBODY,
    warn: Callable[[str], None] = lambda _: None,
    tell: Callable[[int, int, str], None] = lambda _done, _total, _name: None,
) -> PublishReport:
    """Test a bundle, sign it and make it the newest release of a channel.

    The keys of the channel, snapshot and timestamp sign.

    Args:
        bundle: folder of the bundle.
        repo: folder of the repository, see `pocketrec repo init`.
        signers: the available signers.
        channel: name of the channel.
        percent: share of the devices that are offered the release, 0..100. The other devices keep
            the previous releases. None: the channel's first stage. A new release with less than 100
            sets the channel's first stage to this share.
        deltas: number of previous releases from which deltas are made; 0 makes no deltas.
        name: name of the release. The default is the name in the bundle.
        older: publish the release even if its data ends before the data of the newest release.
        app_least: minimum version of the app, such as "2.10". A release of bundle format 3 needs
            one, or gets that of the channel's newest release that has one.
        self_test: run the models and the golden requests first, on the runtimes of this machine
            (extra `edge` or `onnx`). False: on a machine without a runtime, after
            `pocketrec verify` elsewhere.
        note: who makes the change, and why.
        warn: receives a sentence if an engine of the bundle has no runtime here, and one for each
            arm of an open experiment that does not fit the channel's releases now.
        tell: progress of the deltas: done, total, name of the next file.

    Raises:
        SelfTestRefusedError: the models or the golden requests fail. The repository is unchanged.
        EngineError: this machine has no runtime for any model of the bundle.
        BundleInvalidError: the bundle fails its checks, or no device could use it.
        InputError: the channel is unknown, the name is invalid or taken, the release is halted, its
            data is older, or it is of bundle format 3 and no minimum version of the app is named.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, the keys are not its own, or another
            publish is running.
        PocketRecError: the disk is full; devices still see the old release.

    Example:
        >>> from pocketrec import found_repository, load_signers, make_keys
        >>> key_files = make_keys(Path("keys"))
        >>> signers = load_signers(Path("keys"))
        >>> channels = found_repository(Path("repo"), signers)
        >>> report = publish(
        ...     bundle=Path("bundle"), repo=Path("repo"), signers=signers, percent=50
        ... )
        >>> report.changed, report.percent
        (True, 50)
    """
    if self_test:
        self_tested(bundle, warn)
    report = repository.publish(
        bundle,
        repo,
        signers,
        channel,
        percent=percent,
        keep=deltas,
        name=name,
        older=older,
        app_least=app_least,
        note=note,
        tell=tell,
    )
    for text in misfits(repo, channel):
        warn(f"experiment {text}; devices of this arm answer as control")
    return report
