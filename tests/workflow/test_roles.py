"""Timestamp, snapshot and targets (specification, 5.4 to 5.6)."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import MetaFile

ONLINE = ("timestamp", "snapshot", "targets")
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def name_again(publisher, role, how=lambda meta: meta):
    """Have snapshot and timestamp, or the timestamp, name what is changed of a role's entry."""
    if role == "targets":
        publisher.snapshot.meta["targets.json"] = how(publisher.snapshot.meta["targets.json"])
        publisher.put("snapshot")
    else:
        publisher.timestamp.snapshot_meta = how(publisher.timestamp.snapshot_meta)
    publisher.put("timestamp")


def test_the_first_check_asks_in_the_order_of_the_specification(publisher, client):
    client.check("any")
    assert publisher.asked == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]


def test_the_order_is_the_same_once_a_day(publisher, client):
    client.check("any")
    publisher.update("targets")
    client.check("any", hours=25)
    assert publisher.asked == ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]


def test_within_the_day_the_timestamp_comes_first_and_the_root_before_anything_is_believed(
    publisher, client
):
    client.check("any")
    publisher.update("targets")
    client.check("any")
    assert publisher.asked == ["timestamp.json", "2.root.json", "2.snapshot.json", "2.targets.json"]


@pytest.mark.parametrize("role", ONLINE)
@pytest.mark.parametrize("signed_by", ["nobody", "another key", "another role"])
def test_metadata_that_its_role_did_not_sign_is_refused(publisher, client, role, signed_by):
    client.check("any")
    other = "snapshot" if role != "snapshot" else "timestamp"
    signers = {
        "nobody": [],
        "another key": [CryptoSigner.generate_ed25519()],
        "another role": publisher.signers[other],
    }[signed_by]
    for each in ("targets", "snapshot", "timestamp"):
        publisher.put(each, signers=signers if each == role else None)
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version(role) == 1


@pytest.mark.parametrize("role", ONLINE)
@pytest.mark.parametrize(("signing", "taken"), [(1, False), (2, True), (3, True)])
def test_a_role_with_a_threshold_of_two_needs_two_keys(publisher, client, role, signing, taken):
    keys = [publisher.signers[role][0], *(CryptoSigner.generate_ed25519() for _ in range(2))]
    for key in keys:
        publisher.root.add_key(key.public_key, role)
    publisher.root.roles[role].threshold = 2
    publisher.next_root()
    for each in ("targets", "snapshot", "timestamp"):
        publisher.put(each, signers=keys[:signing] if each == role else None)
    if taken:
        client.check("any")
    else:
        with pytest.raises(RepositoryError):
            client.check("any")
    assert client.version(role) == (2 if taken else None)


KEY_KINDS = {
    "ed25519": lambda: CryptoSigner.generate_ed25519(),
    "ecdsa": lambda: CryptoSigner.generate_ecdsa(),
    "rsa": lambda: CryptoSigner.generate_rsa(size=2048),
}


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_each_kind_of_key_that_the_specification_names_signs(publisher, client, kind):
    for role in ("timestamp", "snapshot", "targets"):
        publisher.new_key(role, KEY_KINDS[kind]())
    publisher.next_root()
    publisher.update("targets")
    client.check("any")
    assert client.version("targets") == 2


UNUSABLE = {
    "unknown kind": ({"keytype": "sphincs-of-2040"}, 1),
    "unknown scheme": ({"scheme": "ed25519ph"}, 1),
    "not of its key": ({"keyval": {"public": "00" * 32}}, 2),
    "no key at all": ({"keyval": {"public": "x"}}, 2),
}


@pytest.mark.parametrize("how", UNUSABLE)
def test_a_role_whose_key_nobody_can_use_signs_nothing(publisher, client, how):
    """A root with a key of an unknown kind is refused as a whole, with its next versions."""
    change, trusted = UNUSABLE[how]
    value = publisher.root.to_dict() | {"version": 2}
    (keyid,) = publisher.root.roles["timestamp"].keyids
    value["keys"][keyid] |= change
    publisher.files["metadata/2.root.json"] = publisher.encode_value(value, "root")
    with pytest.raises(RepositoryError):
        client.check()
    assert (client.version("root"), client.version("timestamp")) == (trusted, None)


def test_a_key_id_is_a_name_and_need_not_be_a_hash(publisher, client):
    """TUF 1.0.31, 4.2: a client takes any id that is used consistently."""
    value = json.dumps(publisher.root.to_dict())
    (keyid,) = publisher.root.roles["timestamp"].keyids
    publisher.root = type(publisher.root).from_dict(json.loads(value.replace(keyid, "mine")))
    publisher.next_root()
    data = publisher.put("timestamp").replace(keyid.encode(), b"mine")
    publisher.files["metadata/timestamp.json"] = data
    client.check()
    assert client.version("timestamp") == 2


def test_one_key_under_two_ids_is_counted_as_the_root_names_it(publisher, client):
    """The ids of a role must differ; one id given twice in a role makes the root invalid."""
    value = publisher.root.to_dict()
    (keyid,) = value["roles"]["timestamp"]["keyids"]
    value["roles"]["timestamp"]["keyids"] = [keyid, keyid]
    body = {"signatures": [], "signed": value | {"version": 2}}
    publisher.files["metadata/2.root.json"] = json.dumps(body).encode()
    with pytest.raises(RepositoryError):
        client.check()
    assert client.version("root") == 1


@pytest.mark.parametrize("role", ONLINE)
def test_a_lower_version_is_refused(publisher, client, role):
    publisher.update("targets")
    client.check("any")
    publisher.signed(role).version = 1
    for each in ("targets", "snapshot", "timestamp"):
        publisher.put(each, bump=each != role)
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version(role) == 2


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_newer_timestamp_or_snapshot_that_names_a_lower_version_is_refused(
    publisher, client, role
):
    publisher.update("targets")
    client.check("any")
    name_again(publisher, role, lambda meta: MetaFile(1))
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version(role) == 2


def test_equal_versions_are_no_news(publisher, client):
    client.check("any")
    before = (client.home / "tuf" / "timestamp.json").read_bytes()
    publisher.timestamp.unrecognized_fields["note"] = "other bytes, same version"
    publisher.put("timestamp", bump=False)
    client.check("any")
    assert (client.home / "tuf" / "timestamp.json").read_bytes() == before


@pytest.mark.parametrize("role", ONLINE)
def test_expired_metadata_is_refused_and_what_follows_it_is_not_asked_for(publisher, client, role):
    publisher.signed(role).expires = PAST
    publisher.update("targets")
    with pytest.raises(ExpiredMetadataError):
        client.check("any")
    order = ["timestamp.json", "2.snapshot.json", "2.targets.json"]
    assert publisher.asked[1:] == order[: ONLINE.index(role) + 1]
    publisher.signed(role).expires = publisher.later
    publisher.update("targets")
    client.check("any")
    assert client.version(role) == 3


@pytest.mark.parametrize("role", ONLINE)
def test_what_expired_here_still_bounds_versions(publisher, client, role, phone_clock):
    """The phone was off for a month; then an older version is put before it."""
    publisher.update("targets")
    client.check("any")
    phone_clock(timedelta(days=40))
    for each in ONLINE:
        publisher.signed(each).expires = publisher.later + timedelta(days=60)
    publisher.root.expires = publisher.later + timedelta(days=60)
    publisher.next_root()
    publisher.signed(role).version = 1
    for each in ("targets", "snapshot", "timestamp"):
        publisher.put(each, bump=each != role)
    with pytest.raises(RepositoryError):
        client.check("any")
    for each in ONLINE:
        publisher.signed(each).version = 5
    publisher.update("targets")
    client.check("any")
    assert client.version(role) == 6


def test_what_is_here_expires_without_news(publisher, client, phone_clock):
    client.check("any")
    phone_clock(timedelta(days=31))
    with pytest.raises(ExpiredMetadataError):
        client.check("any")


NAMED = {
    "another hash": lambda meta: MetaFile(meta.version, hashes={"sha256": "0" * 64}),
    "one of two hashes is another": lambda meta: MetaFile(
        meta.version, hashes={**meta.hashes, "sha512": "0" * 128}
    ),
    "an unknown hash": lambda meta: MetaFile(meta.version, hashes={"md9": "00"}),
    "a shorter length": lambda meta: MetaFile(meta.version, meta.length - 1),
    "a higher version": lambda meta: MetaFile(meta.version + 1),
}


@pytest.mark.parametrize("role", ["snapshot", "targets"])
@pytest.mark.parametrize("how", NAMED)
def test_metadata_that_is_not_as_named_is_refused(publisher, client, role, how):
    def changed(meta):
        if meta.length is None:
            meta = MetaFile.from_data(meta.version, publisher.files[publisher.path_of(role)], [])
            meta.hashes = {"sha256": "0" * 64}
        return NAMED[how](meta)

    if how == "a higher version":  # the file under that name has the version below
        publisher.files[f"metadata/2.{role}.json"] = publisher.files[f"metadata/1.{role}.json"]
    name_again(publisher, role, changed)
    with pytest.raises((RepositoryError, DownloadError)):
        client.check("any")
    assert client.version(role) is None


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_hashes_and_lengths_may_be_left_out(publisher, client, role):
    name_again(publisher, role, lambda meta: MetaFile(meta.version))
    client.check("any")
    assert client.version(role) == 1


@pytest.mark.parametrize("role", ONLINE)
def test_metadata_that_is_missing_ends_the_check_and_keeps_what_was_there(publisher, client, role):
    client.check("any")
    publisher.update("targets")
    data = publisher.files.pop(publisher.path_of(role))
    with pytest.raises(DownloadError):
        client.check("any")
    assert client.version(role) == 1
    publisher.files[publisher.path_of(role)] = data
    client.check("any")
    assert client.version(role) == 2


def test_a_role_that_leaves_the_snapshot_is_a_rollback(publisher, client):
    publisher.delegate("targets", "shop")
    publisher.put("shop", bump=False)
    publisher.update("targets")
    client.check("any")
    del publisher.snapshot.meta["shop.json"]
    publisher.put("snapshot")
    publisher.put("timestamp")
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version("snapshot") == 2


def test_a_snapshot_without_targets_is_refused(publisher, client):
    del publisher.snapshot.meta["targets.json"]
    publisher.put("snapshot")
    publisher.put("timestamp")
    with pytest.raises(RepositoryError):
        client.check("any")


@pytest.mark.parametrize("consistent", [True, False])
def test_names_have_versions_where_the_root_says_so(publisher, client, consistent):
    publisher.root.consistent_snapshot = consistent
    publisher.next_root()
    publisher.update("targets")
    client.check("any")
    numbered = ["2.snapshot.json", "2.targets.json"]
    assert publisher.asked[3:] == (numbered if consistent else ["snapshot.json", "targets.json"])
