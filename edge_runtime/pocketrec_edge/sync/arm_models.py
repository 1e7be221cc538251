"""Fetch and test the ranker of a device's arm; devices without such an arm fetch none."""

from dataclasses import replace

from tuf.api.exceptions import DownloadError, RepositoryError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.manifest import FileEntry
from pocketrec_edge.engines.select import all_set_rankers, choose_engine, set_rankers
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.experiments import arm_models
from pocketrec_edge.experiments.arm_models import FAILED, MOST_TRIES, PASSED, TESTING
from pocketrec_edge.experiments.assigned import Assigned
from pocketrec_edge.releases.set_test import check_ranker
from pocketrec_edge.sync.files import ReleaseFiles
from pocketrec_edge.sync.install import Phone


def follow_arm(phone: Phone, assigned: Assigned | None, files: ReleaseFiles) -> str | None:
    """Bring the ranker of an arm's model set to the device, tested; remove those of other sets.

    Whatever fails, the release stays, and control answers in the arm's place.

    Args:
        phone: the phone, with its release installed.
        assigned: the arm that names a model set; None: no arm does.
        files: fetches files.

    Returns:
        Why the arm has no ranker here, or None.
    """
    try:
        _follow(phone, None if assigned is None else assigned.arm.models, files)
    except (PocketRecError, DownloadError, RepositoryError) as err:
        if assigned is None:
            return None
        where = f"experiment {assigned.experiment.id}, arm {assigned.arm.name}"
        return f"{where}: {err}; control answers"
    return None


def _follow(phone: Phone, name: str | None, files: ReleaseFiles) -> None:
    active, _ = phone.store.active()
    if active is None:
        return
    manifest = phone.store.read_manifest(active)
    every = all_set_rankers(manifest)
    if not every and name is None:
        return
    engine = choose_engine(phone.engine, manifest)
    wanted = [] if name is None else set_rankers(manifest, name, engine)
    phone.store.discard([entry for entry in every if entry not in wanted])
    if name is None:
        return
    if not wanted:
        raise EngineError(f"release {manifest.name} has no model set {name!r} for {engine}")
    if not any(_is_usable(phone, active, entry, engine, files) for entry in wanted):
        known = [arm_models.find(phone.home, entry.sha256, engine) for entry in wanted]
        raise EngineError(arm_models.reasons(name, known))


def _is_usable(
    phone: Phone, release: str, entry: FileEntry, engine: str, files: ReleaseFiles
) -> bool:
    """Fetch a ranker and test it, unless that was done; return whether it passed."""
    home, store = phone.home, phone.store
    known = arm_models.find(home, entry.sha256, engine)
    if known.state == PASSED and store.has(entry):
        return True
    if known.state == FAILED:
        store.discard([entry])
        return False
    if known.state == TESTING and known.tries >= MOST_TRIES:
        why = f"{entry.name}: {MOST_TRIES} processes ended in its test"
        arm_models.keep(home, arm_models.failed(known, why))
        return False
    store.add(entry, files.fetch)
    if known.state == PASSED:
        return True
    arm_models.keep(home, replace(known, tries=known.tries + 1))
    try:
        check_ranker(store.open_release(release), entry, engine)
    except (SelfTestFailedError, EngineError) as err:
        arm_models.keep(home, arm_models.failed(known, str(err)))
        store.discard([entry])
        return False
    arm_models.keep(home, replace(known, state=PASSED, tries=0))
    return True
