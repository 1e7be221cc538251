"""Delegated roles: which are asked, in which order, and for which paths (specification, 5.6.7)."""

import hashlib

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

T = "targets"

# (parent, child, patterns, terminating) in order -> the roles that are visited for "file.txt".
GRAPHS = {
    "none": ([], [T]),
    "one": ([(T, "A", "*", False)], [T, "A"]),
    "two side by side": ([(T, "A", "*", False), (T, "B", "*", False)], [T, "A", "B"]),
    "their order counts": ([(T, "B", "*", False), (T, "A", "*", False)], [T, "B", "A"]),
    "depth before breadth": (
        [(T, "A", "*", False), (T, "B", "*", False), ("A", "C", "*", False)],
        [T, "A", "C", "B"],
    ),
    "a chain": (
        [(T, "A", "*", False), ("A", "B", "*", False), ("B", "C", "*", False)],
        [T, "A", "B", "C"],
    ),
    "terminating ends the search": (
        [(T, "A", "*", True), (T, "B", "*", False)],
        [T, "A"],
    ),
    "terminating ends it after its own children": (
        [(T, "A", "*", True), (T, "B", "*", False), ("A", "C", "*", False)],
        [T, "A", "C"],
    ),
    "terminating below ends it above": (
        [(T, "A", "*", False), (T, "B", "*", False), ("A", "C", "*", True), ("A", "D", "*", False)],
        [T, "A", "C"],
    ),
    "terminating for another path ends nothing": (
        [(T, "A", "other/*", True), (T, "B", "*", False)],
        [T, "B"],
    ),
    "a cycle of two": (
        [(T, "A", "*", False), ("A", "B", "*", False), ("B", "A", "*", False)],
        [T, "A", "B"],
    ),
    "a role of itself": ([(T, "A", "*", False), ("A", "A", "*", False)], [T, "A"]),
    "two ways to one role": (
        [
            (T, "A", "*", False),
            (T, "B", "*", False),
            ("A", "C", "*", False),
            ("B", "C", "*", False),
        ],
        [T, "A", "C", "B"],
    ),
    "a role that is not for the path": ([(T, "A", "*.gz", False), (T, "B", "*", False)], [T, "B"]),
    "a child for the path below one that is not": (
        [(T, "A", "*.gz", False), ("A", "B", "*", False)],
        [T],
    ),
}


def put_graph(publisher, edges):
    for parent, child, pattern, terminating in edges:
        publisher.delegate(parent, child, paths=(pattern,), terminating=terminating)
    for role in list(publisher.targets)[1:]:
        publisher.put(role, bump=False)
    publisher.update(T)


@pytest.mark.parametrize("name", GRAPHS)
def test_roles_are_visited_in_preorder_each_once(publisher, client, name):
    edges, visited = GRAPHS[name]
    put_graph(publisher, edges)
    assert client.check("file.txt") == [None]
    roles = [path.split(".")[1] for path in publisher.asked if not path.startswith("timestamp")]
    assert [role for role in roles if role not in ("root", "snapshot")] == visited
    client.check("file.txt")
    assert publisher.asked == ["timestamp.json"]


@pytest.mark.parametrize(
    ("signers", "found"),
    [(("A", "C"), "A"), (("B", "C"), "C"), ((T, "A"), T), (("B",), "B"), (("D",), None)],
)
def test_the_first_role_that_signs_a_path_decides(publisher, client, signers, found):
    """The order is targets, A, C (below A), B; D, not for the path, signs it in vain."""
    edges = GRAPHS["depth before breadth"][0] + [(T, "D", "other/*", False)]
    for parent, child, pattern, terminating in edges:
        publisher.delegate(parent, child, paths=(pattern,), terminating=terminating)
    for role in signers:
        publisher.add_target("file.txt", role.encode(), role)
    put_graph(publisher, [])
    (target,) = client.check("file.txt")
    if found is None:
        assert target is None
    else:
        assert target.hashes["sha256"] == hashlib.sha256(found.encode()).hexdigest()


PATTERNS = {
    ("*", "a", True),
    ("*", "a/b", False),
    ("*/*", "a/b", True),
    ("*/*", "a/b/c", False),
    ("a/*", "a/b", True),
    ("a/*", "b/b", False),
    ("a/*", "a/", True),
    ("a/b", "a/b", True),
    ("a/b", "a/B", False),
    ("a/?", "a/b", True),
    ("a/?", "a/bb", False),
    ("a/*.gz", "a/b.gz", True),
    ("a/*.gz", "a/b.gz.sig", False),
    ("a/[bc]", "a/c", True),
    ("a/é*", "a/été", True),
    ("a/ b", "a/ b", True),
    ("/a", "a", False),
    ("a", "/a", False),
}


@pytest.mark.parametrize(("pattern", "path", "matches"), sorted(PATTERNS))
def test_a_pattern_matches_within_one_folder(publisher, client, pattern, path, matches):
    publisher.delegate(T, "A", paths=(pattern,))
    publisher.add_target(path, b"content", "A")
    put_graph(publisher, [])
    (target,) = client.check(path)
    assert (target is not None) == matches


def test_prefixes_of_hashes_divide_paths_over_roles(publisher, client):
    digits = hashlib.sha256(b"file.txt").hexdigest()
    publisher.delegate(T, "other", prefixes=["f" if digits[0] != "f" else "0"])
    publisher.delegate(T, "mine", prefixes=[digits[:2], "abc"])
    for role in ("other", "mine"):
        publisher.add_target("file.txt", role.encode(), role)
    put_graph(publisher, [])
    (target,) = client.check("file.txt")
    assert target.hashes["sha256"] == hashlib.sha256(b"mine").hexdigest()
    assert not [path for path in publisher.asked if "other" in path]


def test_bins_of_hashes_by_succinct_roles(publisher, client):
    """TAP 15: one entry names 2^bits roles; a path is looked for in one of them."""
    publisher.targets[T].delegations = Delegations({}, None, SuccinctRoles([], 1, 4, "bin"))
    succinct = publisher.targets[T].delegations.succinct_roles
    name = succinct.get_role_for_target("file.txt")
    publisher.targets[name] = Targets(expires=publisher.later)
    publisher.signers[name] = publisher.signers[T]
    publisher.targets[T].add_key(publisher.signers[T][0].public_key)
    publisher.add_target("file.txt", b"content", name)
    put_graph(publisher, [])
    (target,) = client.check("file.txt")
    assert target is not None
    assert publisher.asked[-1] == f"1.{name}.json"


def test_a_role_that_the_snapshot_does_not_name_is_refused(publisher, client):
    publisher.delegate(T, "A")
    publisher.update(T)
    with pytest.raises(RepositoryError):
        client.check("file.txt")


def test_more_than_32_roles_are_not_visited_for_one_path(publisher, client):
    put_graph(publisher, [(T, f"r{n:02}", "*", False) for n in range(40)])
    client.check("file.txt")
    assert len([path for path in publisher.asked if ".r" in path and "root" not in path]) == 32


@pytest.mark.parametrize("how", ["unsigned", "another key", "expired", "rollback", "parent's key"])
def test_a_delegated_role_is_proved_as_the_top_level_is(publisher, client, how):
    put_graph(publisher, [(T, "A", "*", False)])
    client.check("file.txt")
    signers, bump = None, True
    if how == "expired":
        publisher.targets["A"].expires = publisher.later.replace(year=2020)
    elif how == "rollback":
        publisher.targets["A"].version, bump = 0, True
    elif how == "unsigned":
        signers = []
    else:
        signers = publisher.signers["snapshot" if how == "another key" else T]
    if how == "rollback":
        publisher.targets["A"].version = 2
        publisher.put("A")
        publisher.update()
        client.check("file.txt")
        publisher.targets["A"].version = 1
    publisher.put("A", signers=signers, bump=bump)
    publisher.update()
    before = client.version("A")
    with pytest.raises(ExpiredMetadataError if how == "expired" else RepositoryError):
        client.check("file.txt")
    assert client.version("A") == before


def test_a_key_that_a_parent_takes_away_ends_what_the_child_was(publisher, client):
    put_graph(publisher, [(T, "A", "*", False)])
    client.check("file.txt")
    old = publisher.signers["A"]
    publisher.targets[T].revoke_key(old[0].public_key.keyid, "A")
    publisher.signers["A"] = publisher.signers["snapshot"]
    publisher.targets[T].add_key(publisher.signers["A"][0].public_key, "A")
    publisher.update(T)
    with pytest.raises(RepositoryError):
        client.check("file.txt")
    publisher.update(T, "A")
    client.check("file.txt")
    assert client.version("A") == 2


@pytest.mark.parametrize(
    "name", ["a/b", "..", "../../x", "a b", "a?b", "a#b", "%2e", "é", "日", "A.json"]
)
def test_a_role_of_any_name_is_one_file_of_the_phone(publisher, client, name):
    """Names are quoted in addresses and in the phone's folder: none leads out of it."""
    put_graph(publisher, [(T, name, "*", False)])
    client.check("file.txt")
    folder = client.home / "tuf"
    assert len(list(folder.glob("*.json"))) == 5  # with root_asked.json
    assert {path.name for path in client.home.iterdir()} == {"tuf"}
    client.check("file.txt")
    assert publisher.asked == ["timestamp.json"]


@pytest.mark.parametrize("name", ["root", "timestamp", "snapshot", "targets", ""])
def test_a_role_with_the_name_of_another_is_refused(publisher, client, name):
    delegations = Delegations({}, {"x": DelegatedRole("x", [], 1, False, ["*"])})
    publisher.targets[T].delegations = delegations
    publisher.targets[T].version += 1
    value = publisher.targets[T].to_dict()
    value["delegations"]["roles"][0]["name"] = name
    publisher.files["metadata/2.targets.json"] = publisher.encode_value(value, T)
    publisher.snapshot.meta["targets.json"].version = 2
    publisher.snapshot.meta["targets.json"].hashes = publisher.snapshot.meta[
        "targets.json"
    ].length = None
    publisher.put("snapshot")
    publisher.put("timestamp")
    with pytest.raises(RepositoryError):
        client.check("file.txt")
    assert client.version("targets") is None
