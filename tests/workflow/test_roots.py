"""Roots: how a client follows them (specification, 5.3)."""

from datetime import UTC, datetime, timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError

KEYS = [CryptoSigner.generate_ed25519() for _ in range(4)]

# Each case: roots 1..n as (keys, threshold, keys that sign), and the version that is trusted.
ROTATIONS = {
    "one key stays": ([("0", 1, "0"), ("0", 1, "0")], 2),
    "one key follows another": ([("0", 1, "0"), ("1", 1, "01")], 2),
    "the new key alone signed": ([("0", 1, "0"), ("1", 1, "1")], 1),
    "the old key alone signed": ([("0", 1, "0"), ("1", 1, "0")], 1),
    "nobody signed": ([("0", 1, "0"), ("0", 1, "")], 1),
    "a key of neither signed": ([("0", 1, "0"), ("0", 1, "3")], 1),
    "two of three, two signed": ([("012", 2, "01"), ("012", 2, "12")], 2),
    "two of three, one signed": ([("012", 2, "01"), ("012", 2, "2")], 1),
    "one key signed twice": ([("012", 2, "01"), ("012", 2, "22")], 1),
    "one of three is replaced": ([("012", 2, "01"), ("013", 2, "01")], 2),
    "two of three are replaced": ([("012", 2, "01"), ("023", 2, "023")], 2),
    "all are replaced": ([("01", 2, "01"), ("23", 2, "0123")], 2),
    "all are replaced, an old one is missing": ([("01", 2, "01"), ("23", 2, "023")], 1),
    "all are replaced, a new one is missing": ([("01", 2, "01"), ("23", 2, "012")], 1),
    "a signature of an unknown key beside the right ones": (
        [("0", 1, "0"), ("1", 1, "013")],
        2,
    ),
    "the threshold rises": ([("01", 1, "0"), ("01", 2, "01")], 2),
    "the threshold rises above what signed": ([("01", 1, "0"), ("01", 2, "0")], 1),
    "the threshold falls": ([("01", 2, "01"), ("01", 1, "01")], 2),
    "the threshold falls, and the old one counts": ([("01", 2, "01"), ("01", 1, "0")], 1),
    "three roots, one after another": (
        [("0", 1, "0"), ("1", 1, "01"), ("2", 1, "12")],
        3,
    ),
    "the third skips the second's key": ([("0", 1, "0"), ("1", 1, "01"), ("2", 1, "02")], 2),
    "a key comes back": ([("0", 1, "0"), ("1", 1, "01"), ("0", 1, "01")], 3),
}


def put_roots(publisher, client, roots):
    """Publish roots of these keys; the client pins the first."""
    for number, (keys, threshold, signing) in enumerate(roots, 1):
        root = publisher.root
        for keyid in list(root.roles["root"].keyids):
            root.revoke_key(keyid, "root")
        for key in keys:
            root.add_key(KEYS[int(key)].public_key, "root")
        root.roles["root"].threshold, root.version = threshold, number
        publisher.put_root([KEYS[int(key)] for key in signing])
    client.first.write_bytes(publisher.files["metadata/1.root.json"])


@pytest.mark.parametrize("name", ROTATIONS)
def test_a_root_is_followed_if_old_and_new_keys_signed_it(publisher, client, name):
    roots, trusted = ROTATIONS[name]
    put_roots(publisher, client, roots)
    if trusted == len(roots):
        client.check()
    else:
        with pytest.raises(RepositoryError):
            client.check()
        assert client.version("timestamp") is None
    assert client.version("root") == trusted


def test_a_root_that_repeats_a_signature_counts_it_once(publisher, client):
    """Two signatures under one key id: the list is refused or counts as one."""
    put_roots(publisher, client, [("012", 2, "01"), ("012", 2, "2")])
    path = "metadata/2.root.json"
    data = publisher.files[path]
    start = data.index(b'{"keyid"')
    signature = data[start : data.index(b"}", start) + 1]
    publisher.files[path] = data.replace(signature, signature + b"," + signature)
    assert publisher.files[path].count(b'"sig"') == 2
    with pytest.raises(RepositoryError):
        client.check()
    assert client.version("root") == 1


@pytest.mark.parametrize("inside", [1, 3])
def test_the_file_of_a_root_holds_the_version_that_its_name_says(publisher, client, inside):
    publisher.root.version = inside
    publisher.files["metadata/2.root.json"] = publisher.encode(
        publisher.root, publisher.signers["root"]
    )
    with pytest.raises(RepositoryError):
        client.check()
    assert client.version("root") == 1


def test_many_roots_are_followed_in_one_check_and_a_gap_ends_it(publisher, client):
    for _ in range(8):
        publisher.next_root()
    del publisher.files["metadata/8.root.json"]
    client.check()
    assert client.version("root") == 7
    assert publisher.asked[:7] == [f"{n}.root.json" for n in range(2, 9)]


def test_no_more_than_256_roots_are_followed_in_one_check(publisher, client):
    for version in range(2, 262):
        publisher.root.version = version
        publisher.put_root(publisher.signers["root"])
    client.check()
    assert client.version("root") == 257
    client.check()
    assert client.version("root") == 261


def test_an_expired_root_on_the_way_is_followed_and_the_last_one_must_not_be(publisher, client):
    later, publisher.root.expires = publisher.root.expires, datetime(2020, 1, 1, tzinfo=UTC)
    publisher.next_root()
    with pytest.raises(ExpiredMetadataError):
        client.check()
    assert client.version("root") == 2
    assert client.version("timestamp") is None
    publisher.root.expires = later
    publisher.next_root()
    client.check()
    assert (client.version("root"), client.version("timestamp")) == (3, 1)


def test_the_pinned_root_may_have_expired_if_a_newer_one_has_not(publisher, client):
    later, publisher.root.expires = publisher.root.expires, datetime(2020, 1, 1, tzinfo=UTC)
    publisher.put_root(publisher.signers["root"])
    client.first.write_bytes(publisher.files["metadata/1.root.json"])
    publisher.root.expires = later
    publisher.next_root()
    client.check()
    assert client.version("root") == 2


@pytest.mark.parametrize("what", ["unsigned", "timestamp", "no JSON", "empty"])
def test_a_pinned_root_that_is_none_is_refused(publisher, client, what):
    client.first.write_bytes(
        {
            "unsigned": publisher.encode(publisher.root, []),
            "timestamp": publisher.files["metadata/timestamp.json"],
            "no JSON": b"root",
            "empty": b"",
        }[what]
    )
    with pytest.raises(RepositoryError):
        client.check()
    assert not publisher.asked


@pytest.mark.parametrize(
    ("status", "taken"), [(403, True), (404, True), (410, False), (500, False)]
)
def test_a_server_says_that_there_is_no_newer_root_by_403_or_404(publisher, client, status, taken):
    publisher.missing = status
    if not taken:
        with pytest.raises(DownloadError):
            client.check()
        assert client.version("timestamp") is None
        return
    client.check()
    assert publisher.asked[0] == "2.root.json"
    client.check()
    assert publisher.asked == ["timestamp.json"]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_new_root_ends_what_a_role_was_before(publisher, client, role):
    """Metadata of the old key is refused, though the phone has taken it; of the new one taken."""
    client.check()
    old = list(publisher.signers[role])
    publisher.new_key(role)
    publisher.next_root()
    for name in ("targets", "snapshot", "timestamp"):
        publisher.put(name, signers=old if name == role else None)
    with pytest.raises(RepositoryError):
        client.check()
    publisher.update("targets")
    client.check()
    assert client.version(role) == publisher.signed(role).version


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_versions_that_a_thief_raised_fall_with_their_key(publisher, client, role):
    """Fast-forward recovery (5.3.11): a rotated key has its role's versions begin again."""
    publisher.signed(role).version = 2**30
    publisher.update("targets")
    client.check()
    publisher.signed(role).version = 1
    online = ("snapshot", "timestamp")
    for each in {role, *online} if role == "targets" else {role, "timestamp"}:
        publisher.new_key(each)
    publisher.next_root()
    publisher.snapshot.version = 1 if role == "snapshot" else publisher.snapshot.version
    publisher.update("targets")
    client.check("any")
    assert client.version(role) == publisher.signed(role).version < 2**30


def test_clocks_do_not_matter_to_roots_on_the_way(publisher, client, phone_clock):
    publisher.next_root()
    phone_clock(timedelta(days=31))
    with pytest.raises(ExpiredMetadataError):
        client.check()
    assert client.version("root") == 2
