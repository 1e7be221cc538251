"""Forms of metadata: what a client reads, ignores and refuses (specification, 4)."""

import json

import pytest
from tuf.api.exceptions import RepositoryError

ROLES = ("timestamp", "snapshot", "targets")


def put_changed(publisher, role, change):
    """Publish the next version of a role, a JSON value changed before it is signed."""
    signed = publisher.signed(role)
    signed.version += 1
    value = signed.to_dict()
    change(value)
    data = publisher.encode_value(value, role)
    publisher.files[publisher.path_of(role)] = data
    if role == "targets":
        publisher.snapshot.meta["targets.json"].version = signed.version
        publisher.snapshot.meta["targets.json"].hashes = None
        publisher.snapshot.meta["targets.json"].length = None
        publisher.put("snapshot")
        publisher.put("timestamp")
    elif role == "snapshot":
        publisher.timestamp.snapshot_meta.version = signed.version
        publisher.timestamp.snapshot_meta.hashes = None
        publisher.timestamp.snapshot_meta.length = None
        publisher.put("timestamp")


def without(name):
    return lambda value: value.pop(name)


def with_value(name, new):
    return lambda value: value.update({name: new})


REFUSED = {
    "no version": without("version"),
    "no expiry": without("expires"),
    "no type": without("_type"),
    "no spec_version": without("spec_version"),
    "version 0": with_value("version", 0),
    "version -1": with_value("version", -1),
    "version as text": with_value("version", "2"),
    "version as a fraction": with_value("version", "1.5"),
    "type of another role": with_value("_type", "root"),
    "type of none": with_value("_type", "manifest"),
    "spec_version 2": with_value("spec_version", "2.0.0"),
    "spec_version 0": with_value("spec_version", "0.9.0"),
    "spec_version no number": with_value("spec_version", "one"),
    "spec_version of one part": with_value("spec_version", "1"),
    "expiry no time": with_value("expires", "tomorrow"),
    "expiry as a number": with_value("expires", 4_000_000_000),
    "a list": lambda value: (value.clear(), value.update(signed=[])),
}
TAKEN = {
    "spec_version 1.0": with_value("spec_version", "1.0"),
    "spec_version 1.0.31": with_value("spec_version", "1.0.31"),
    "spec_version 1.99.0": with_value("spec_version", "1.99.0"),
    "a field of a later version": with_value("x-playground", {"a": [1, None, "é"]}),
    "many nested fields": with_value("deep", json.loads("[" * 50 + "]" * 50)),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("how", REFUSED)
def test_metadata_of_a_wrong_form_is_refused_though_it_is_signed(publisher, client, role, how):
    client.check("any")
    put_changed(publisher, role, REFUSED[how])
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version(role) == 1


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("how", TAKEN)
def test_metadata_with_what_a_client_does_not_know_is_taken(publisher, client, role, how):
    client.check("any")
    put_changed(publisher, role, TAKEN[how])
    client.check("any")
    assert client.version(role) == 2


@pytest.mark.parametrize("how", sorted(REFUSED))
def test_a_root_of_a_wrong_form_is_refused_though_it_is_signed(publisher, client, how):
    client.check("any")
    value = publisher.root.to_dict() | {"version": 2}
    REFUSED[how](value)
    if how == "type of another role":
        value["_type"] = "targets"
    publisher.files["metadata/2.root.json"] = publisher.encode_value(value, "root")
    with pytest.raises(RepositoryError):
        client.check("any", hours=25)
    assert client.version("root") == 1


def put_wrong_root(publisher, change):
    value = publisher.root.to_dict() | {"version": 2}
    change(value)
    publisher.files["metadata/2.root.json"] = publisher.encode_value(value, "root")


WRONG_ROOTS = {
    "no role root": lambda value: value["roles"].pop("root"),
    "no role timestamp": lambda value: value["roles"].pop("timestamp"),
    "a role beside the four": lambda value: value["roles"].update(brake=value["roles"]["root"]),
    "threshold 0": lambda value: value["roles"]["timestamp"].update(threshold=0),
    "threshold -1": lambda value: value["roles"]["root"].update(threshold=-1),
    "a key that is not there": lambda value: value["keys"].clear(),
    "roles as a list": lambda value: value.update(roles=[]),
    "keys as text": lambda value: value.update(keys="none"),
}


@pytest.mark.parametrize("how", WRONG_ROOTS)
def test_a_root_that_names_no_keys_for_a_role_is_refused(publisher, client, how):
    put_wrong_root(publisher, WRONG_ROOTS[how])
    with pytest.raises(RepositoryError):
        client.check()
    assert client.version("root") in (1, 2)
    assert client.version("timestamp") is None


BODIES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "more": lambda data: data + b"{}",
    "no UTF-8": lambda data: data.replace(b"_type", b"_typ\xff"),
    "a list": lambda data: b"[]",
    "null": lambda data: b"null",
    "deep": lambda data: b"[" * 10_000,
    "no signatures": lambda data: json.dumps(json.loads(data) | {"signatures": []}).encode(),
    "signatures as a number": lambda data: json.dumps(
        json.loads(data) | {"signatures": 1}
    ).encode(),
    "no signed part": lambda data: json.dumps({"signatures": []}).encode(),
    "a signature of no hex": lambda data: with_signature(data, "zz"),
    "an empty signature": lambda data: with_signature(data, ""),
}


def with_signature(data, text):
    value = json.loads(data)
    value["signatures"][0]["sig"] = text
    return json.dumps(value).encode()


@pytest.mark.parametrize("how", BODIES)
def test_a_timestamp_that_is_no_metadata_is_refused(publisher, client, how):
    client.check("any")
    publisher.put("timestamp")
    path = "metadata/timestamp.json"
    publisher.files[path] = BODIES[how](publisher.files[path])
    with pytest.raises(RepositoryError):
        client.check("any")
    assert client.version("timestamp") == 1


@pytest.mark.parametrize("first", [True, False])
def test_of_a_key_that_is_there_twice_only_what_was_signed_counts(publisher, client, first):
    """A thief without a key adds `version` again, before or after the signed one."""
    client.check("any")
    data = publisher.put("timestamp")
    signed = b'"version":2'
    assert data.count(signed) == 1
    twice = b'"version":9,"version":2' if first else b'"version":2,"version":9'
    publisher.files["metadata/timestamp.json"] = data.replace(signed, twice)
    if first:  # JSON of the last one, which is what was signed
        client.check("any")
        assert (
            json.loads((client.home / "tuf/timestamp.json").read_bytes())["signed"]["version"] == 2
        )
        client.check("any")
    else:
        with pytest.raises(RepositoryError):
            client.check("any")
        assert client.version("timestamp") == 1


def test_signatures_are_over_the_canonical_form_and_not_over_bytes(publisher, client):
    value = json.loads(publisher.files["metadata/timestamp.json"])
    pretty = json.dumps(value, indent=3, sort_keys=True).encode()
    publisher.files["metadata/timestamp.json"] = pretty
    client.check("any")
    assert client.version("timestamp") == 1
