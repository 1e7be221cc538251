"""Sums from phones over HTTP to the admin site: export, report, `--publish`, the page."""

import json

import pytest

from pocketrec.cli import main
from pocketrec_bundle.units import DAY_S
from pocketrec_server.experiments.results import read_results
from pocketrec_server.sums.export import export_sums


@pytest.fixture
def sent(site, life_of):
    """Return a function: phones of both arms live a day and send their sums, and no event."""

    def run(control, treatment):
        for n in range(control + treatment):
            arm = "control" if n < control else "treatment"
            phone = site.phone(f"phone{n}", arm)
            events = life_of(site.start_utc, arm, n, 1)
            after = min((e.ts for e in events if e.ts >= site.start_utc), default=site.start_utc)
            phone.log(*events, phone.exposed(after), consent=True, only_sums=True)
            assert phone.send(site.start_utc + DAY_S - 1) == 1
        paths = [path for method, path, *_ in site.recorder.requests if method == "POST"]
        assert paths == ["/v1/sums"] * (control + treatment)

    return run


@pytest.fixture
def published(site, runner, make_app, token_of, log_in, tmp_path):
    """Return a function: export with the options, report and publish; the page and the summary."""

    def run(**options):
        folder = tmp_path / "sums"
        export_sums(site.engine, folder, now=site.start_utc + DAY_S - 1, **options)
        words = ["experiment", "report", "blend", "--sums", folder, "--repo", site.repo]
        words += ["--metric", "ctr", "--publish", "--json"]
        done = runner.invoke(main, list(map(str, words)))
        assert done.exit_code == 0, done.output
        found = read_results(site.engine, "stable", site.experiment)
        assert found is not None
        person = log_in(make_app(site.repo), token_of(site.engine)[0])
        return json.loads(done.stdout), found, person.get("experiments")

    return run


def test_results_from_sums_are_published_with_their_source(sent, published):
    sent(60, 60)
    report, found, page = published()
    assert (report["source"], found.source, found.k, found.epsilon) == ("sums", "sums", 50, None)
    assert [arm.users for arm in found.arms] == [arm["users"] for arm in report["arms"]] == [60, 60]
    assert found.word == report["verdict"]["word"] and f">{found.word}</b>" in page
    for arm in found.arms:
        assert arm.value is not None and f"{100 * arm.value:.2f}%" in page
    assert "Computed from sums that devices sent: an arm of fewer than 50 devices" in page
    assert "Laplace" not in page
    assert "Sums until" in page and "events until" not in page.lower()


def test_noise_is_stated(sent, published):
    sent(60, 60)
    report, found, page = published(epsilon=0.5)
    assert report["epsilon"] == found.epsilon == 0.5
    assert "Laplace noise (epsilon 0.5 for each metric and day)" in page


def test_an_arm_that_is_not_shown_is_no_mismatch_of_the_shares(sent, published):
    sent(60, 12)
    report, found, page = published()
    assert found.arms[1].users == 0 and found.arms[1].value is None
    assert "treatment has fewer than 50 devices, so its figures are not shown" in page
    assert "Sample ratio: not tested, because an arm is not shown." in report["notes"]
    assert found.sample_ratio_p == 1.0
    assert "do not match the shares" not in page
