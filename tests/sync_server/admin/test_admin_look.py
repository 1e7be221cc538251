"""Pages in a real browser, full and empty: they fit their screen, and axe-core finds no fault."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.support.pictures.chromium import doubled_names, unreachable, violations
from pocketrec_bundle.settings.rollout import AppVersions, FailureLimit
from pocketrec_server.experiments.halted_arms import halt_arm
from pocketrec_server.experiments.results import ArmResult, Results, store_results
from pocketrec_server.experiments.signing import start
from pocketrec_server.halting import outcomes
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, finish, name_of
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, publish, read_policy, refresh
from pocketrec_server.repository.rollout import changed
from pocketrec_server.storage.database import default_url, open_database

pytestmark = pytest.mark.browser
PAGES = ("", "releases", "experiments", "fleet", "history", "notifications", "nothing")
LONG = "catalogue-of-" + "aVeryLongNameWithoutAnyBreak" * 6
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SCREENS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"


@pytest.fixture
def crowded(tiny_repo, renamed_release, tmp_path):
    """A repository with every state, long names, 200 releases in the figures, old metadata."""
    signers = load_signers(tmp_path / "keys")
    for name in ("kept", "second", LONG):
        publish(renamed_release(name), tiny_repo, signers, "stable", percent=100)
    publish(renamed_release("ramped"), tiny_repo, signers, "stable", percent=5)
    halt(tiny_repo, signers, "stable", read_policy(tiny_repo, "stable").releases[1].manifest, LONG)

    def settings(policy):
        ramp = ((int(time.time()) + 86_400, 50.0),)
        limit = FailureLimit(of=2000, share=0.05)
        stage = policy.releases[0]
        return changed(policy, stage, app=AppVersions(least="2.0"), ramp=ramp, most_failures=limit)

    change_policy(tiny_repo, signers, "stable", settings)
    arms = [{"name": "control", "share": 0.5}]
    arms.append({"name": "treatment", "share": 0.5, "flags": {"theme": LONG[:100]}})
    plan: dict[str, Any] = {
        "id": "blend",
        "hypothesis": LONG,
        "arms": arms,
        "until_utc": int(time.time()) + 9**6,
    }
    one = start(tiny_repo, signers, "stable", plan)
    other = {"id": "second", "layer": "other", "arms": [arms[0], arms[1] | {"flags": {"size": 2}}]}
    rails = [{"metric": name, "worse_by": 0.2, "alpha": 0.01} for name in ("ctr", "slate_ms")]
    second = start(tiny_repo, signers, "stable", plan | other | {"guardrails": rails})
    halt_arm(tiny_repo, signers, "stable", second, "treatment", LONG)
    engine = open_database(default_url(tiny_repo))
    treatment = ArmResult(
        arm="treatment", users=9**9, value=0.1, change=0.1, low=-0.1, high=0.3, z=1.0, bound=2.0
    )
    results = Results(
        experiment="blend",
        salt=one.salt,
        metric="ctr",
        computed_utc=1,
        until_utc=1,
        days=1,
        planned_days=7,
        word="Keep running",
        sentence=LONG,
        tone="good",
        sample_ratio_p=1e-9,
        arms=(ArmResult(arm="control", users=9), treatment),
    )
    store_results(engine, "stable", results)
    subject = subject_of("stable", second)
    figures: dict[str, Any] = {"control": 0.1, "treatment": 0.2, "z": 5.0}
    rail = {"arm": "treatment", "guardrail": name_of(second.guardrails[0]), "day": 3}
    facts = figures | rail | {"networks": 9**6, "information": 1.0, "bound": 3.0, "broken": 1}
    finish(engine, subject, 3, [Look(subject=subject, **facts)])
    known = [stage.manifest for stage in read_policy(tiny_repo, "stable").releases]
    known += [f"{at:064x}" for at in range(200)]
    told = [
        {"id": f"{at:032x}", "manifest": sha, "outcome": outcomes.KINDS[at % 4], "ts": 1}
        for at, sha in enumerate(known)
    ]
    outcomes.count(engine, "stable", known, told, time.time(), network="192.0.2.0/24")
    refresh(tiny_repo, signers, everything=True, now=datetime.now(UTC) - timedelta(days=29))
    return tiny_repo


def log_in(tab, address, repo, token_of):
    tab.go(f"{address}/admin/login")
    tab.type("#token", token_of(open_database(default_url(repo)), name="A" * 64)[0])
    tab.click("button")


def confirm_page(repo, action="kill"):
    manifest = read_policy(repo, "stable").releases[1].manifest
    return f"confirm?action={action}&channel=stable&manifest={manifest}"


def release_page(repo, place=0):
    return f"releases/stable/{read_policy(repo, 'stable').releases[place].manifest}"


def test_full_pages_fit_wide_and_narrow_screens_light_and_dark(
    tab, crowded, start_server, token_of, tmp_path
):
    address, _ = start_server(crowded)
    log_in(tab, address, crowded, token_of)
    papers = set()
    edit = f"edit?channel=stable&manifest={release_page(crowded)[-64:]}"
    for path in (*PAGES, confirm_page(crowded), release_page(crowded, 1), edit):
        for width, scheme in ((1200, "light"), (360, "light"), (360, "dark")):
            tab.show_as(width, scheme)
            tab.go(f"{address}/admin/{path}")
            assert "Expired metadata" in tab.run("document.body.innerText")
            tab.run(UNFOLD)
            assert tab.run(OVER) == 0, (path, width)
            papers.add((scheme, tab.run("getComputedStyle(document.body).backgroundColor")))
    assert len(papers) == 2 == len({paper for _, paper in papers})
    assert [text for text in tab.complaints if "404" not in text] == []


def check(tab, axe, address, paths):
    """Each page on wide and narrow screens, light and dark, with everything unfolded."""
    for path in paths:
        tab.go(f"{address}/admin/{path}")
        tab.run(UNFOLD)
        assert doubled_names(tab) == [], path
        for width, scheme in SCREENS:
            tab.show_as(width, scheme)
            assert violations(tab, axe) == [], (path, width, scheme)
            assert unreachable(tab) == [], (path, width)


@pytest.mark.parametrize("path", PAGES)  # one browser each: a slow machine ends it after 3 minutes
def test_axe_finds_nothing_on_any_page(axe, tab, crowded, start_server, token_of, tmp_path, path):
    address, _ = start_server(crowded, "--keys", tmp_path / "keys")
    log_in(tab, address, crowded, token_of)
    check(tab, axe, address, [path])


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
def test_axe_finds_nothing_on_any_form(axe, tab, crowded, start_server, token_of, tmp_path, keys):
    address, _ = start_server(crowded, *(["--keys", tmp_path / "keys"] if keys else []))
    tab.go(f"{address}/admin/login")
    assert violations(tab, axe) == []
    log_in(tab, address, crowded, token_of)
    release = f"channel=stable&manifest={release_page(crowded)[-64:]}"
    forms = [
        confirm_page(crowded),
        confirm_page(crowded, "unhalt"),
        release_page(crowded),
        f"edit?{release}",
        f"edit/confirm?{release}&percent=50&ramp=&begins=&ends=",
        f"edit/confirm?{release}&percent=many",
        "edit?channel=stable",
        "edit/confirm?channel=stable&unmetered=no&charging=no&every_s=3600&spread_s=60",
    ]
    forms += ["guardrails?channel=stable", "guardrails/confirm?channel=stable&days=7"]
    forms += [f"guardrails/confirm?channel=stable&guardrails={LONG}"]
    check(tab, axe, address, forms if keys else [forms[0], forms[4], forms[9]])


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
def test_axe_finds_nothing_on_forms_of_experiments(
    axe, tab, crowded, start_server, token_of, tmp_path, keys
):
    address, _ = start_server(crowded, *(["--keys", tmp_path / "keys"] if keys else []))
    log_in(tab, address, crowded, token_of)
    blend, second = (f"channel=stable&experiment={name}" for name in ("blend", "second"))
    forms = [
        f"experiments/confirm?{blend}&action=halt&arm=treatment",
        f"experiments/edit/confirm?{blend}&hypothesis={LONG}&percent=100&ends=2099-01-01",
        f"experiments/confirm?{second}&action=unhalt&arm=treatment",
        f"experiments/confirm?{second}&action=ship&arm=treatment",
        f"experiments/confirm?{blend}&action=stop",
        f"experiments/edit?{second}",
        f"experiments/edit/confirm?{blend}&guardrails={LONG}",
    ]
    check(tab, axe, address, forms if keys else forms[:2])


def test_axe_finds_nothing_on_pages_of_errors_and_of_settings(
    axe, tab, crowded, start_server, token_of, tmp_path
):
    """Error pages, a filter without a match, a form without a reason, settings of notifications."""
    notifications = tmp_path / "notifications.toml"
    notifications.write_text(
        '[mail]\nhost = "127.0.0.1"\nport = 9\nsecurity = "none"\n'
        f'sender = "{LONG[:60]}@example.org"\nrecipients = ["b@example.org"]\n'
    )
    address, _ = start_server(
        crowded, "--keys", tmp_path / "keys", "--notifications", notifications
    )
    for path in ("login?ended=releases", "nothing"):
        tab.go(f"{address}/admin/{path}")
        assert violations(tab, axe) == [], path
    tab.go(f"{address}/admin/login")
    tab.type("#token", "wrong")
    tab.click("button")
    assert "not valid" in tab.run("document.body.innerText")
    assert violations(tab, axe) == []
    log_in(tab, address, crowded, token_of)
    paths = ["notifications", "history?words=nothing-has-this", "history?source=signed&who=a"]
    paths += [f"releases/stable/{'0' * 64}", "confirm?action=kill", "?days=8"]
    check(tab, axe, address, paths)
    tab.go(f"{address}/admin/experiments/confirm?channel=stable&experiment=blend&action=stop")
    tab.run("document.querySelector('#reason').required = false")
    tab.click(".confirm button")
    assert "Enter a reason" in tab.run("document.body.innerText")
    assert violations(tab, axe) == []
    tab.type("#reason", "enough")
    tab.click(".confirm button")
    assert "experiment-stop of blend: done" in tab.run("document.body.innerText")
    assert violations(tab, axe) == []


def test_axe_finds_what_is_wrong(axe, tab, tiny_repo, start_server):
    address, _ = start_server(tiny_repo)
    tab.go(f"{address}/admin/login")
    tab.run("document.querySelector('label').remove()")
    assert [found[0] for found in violations(tab, axe)] == ["label"]
    tab.run("document.querySelector('button').after(document.querySelector('button').cloneNode(1))")
    assert doubled_names(tab) == ["Log in"]
    tab.run("document.querySelector('p').style = 'overflow-x: auto; white-space: nowrap'")
    tab.run("document.querySelector('p').innerHTML = 'x'.repeat(999)")
    assert len(unreachable(tab)) == 1


def test_pages_of_an_empty_server_fit_and_have_no_fault(axe, tab, start_server, token_of, tmp_path):
    repo = tmp_path / "empty"
    repo.mkdir()
    address, _ = start_server(repo)
    log_in(tab, address, repo, token_of)
    for path in PAGES[:-1]:
        tab.show_as(390, "light")
        tab.go(f"{address}/admin/{path}")
        assert tab.run(OVER) == 0
        assert violations(tab, axe) == [], path
