"""What happens after the exposure is never in the users' past, nor a later click in an old look."""

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Settings, experiment_report


def test_a_session_in_progress_counts_from_the_exposure_on(export, tmp_path, design_of):
    """The treatment lengthens only the session in which the exposure happens, by 600 s."""
    for n in range(600):
        user, arm = f"u{n}", ("control", "treatment")[n % 2]
        export.exposure(user, arm, 1000)
        export.request(user, f"r{n}", 400 - n % 7, session_id=f"s{n}")
        end = 1100 + n % 11 + (600 if arm == "treatment" else 0)
        export.interaction(user, "a", end, session_id=f"s{n}")
        export.request(user, f"q{n}", DAY_S, session_id=f"t{n}")
        export.interaction(user, "a", DAY_S + 300 + n % 13, session_id=f"t{n}")
    report = experiment_report(
        design=design_of(days=2),
        events=export.write(tmp_path),
        settings=Settings(metric="session_s"),
    )
    last = report.comparisons[0].looks[-1].effect
    assert report.verdict.kind == "better"
    assert abs(last.difference - 300) < 5  # 600 s in one of two sessions


def test_clicks_after_the_exposure_are_not_in_the_past(export, tmp_path, design_of):
    """One named and one unnamed click on impressions from before the exposure."""
    for n in range(400):
        user, arm = f"u{n}", ("control", "treatment")[n % 2]
        export.exposure(user, arm, 0)
        for item, name in (("a", f"r{n}"), ("b", None), ("c", f"q{n}")):
            export.impression(user, item, -1000, request_id=name)
        export.impression(user, "d", 10, request_id=f"s{n}")
        if n % 4 == 0:
            export.interaction(user, "d", 20, request_id=f"s{n}")
        if n % 3 == 0:
            export.interaction(user, "c", -500, request_id=f"q{n}")
        if arm == "treatment":
            export.interaction(user, "a", 500, request_id=f"r{n}")
            export.interaction(user, "b", 500)
    report = experiment_report(
        design=design_of(days=1), events=export.write(tmp_path), settings=Settings(metric="ctr")
    )
    effect = report.comparisons[0].looks[-1].effect
    assert [arm.clicks for arm in report.arms] == [100, 0]
    assert abs(effect.control - 0.5) < 0.01
    assert abs(effect.treatment) < 0.01


def test_a_click_of_a_later_day_does_not_change_an_earlier_look(export, tmp_path, design_of):
    """One named and one unnamed click a day after the impression; others after the end."""

    def first_look(folder):
        report = experiment_report(
            design=design_of(days=3), events=folder, settings=Settings(metric="ctr")
        )
        return report, report.comparisons[0].looks[0]

    for n in range(400):
        user, arm = f"u{n}", ("control", "treatment")[n % 2]
        export.exposure(user, arm, 0)
        for item, name in (("a", f"r{n}"), ("b", None), ("c", f"q{n}")):
            export.impression(user, item, 10, request_id=name)
        if n % 5 == 0:
            export.interaction(user, "c", 20, request_id=f"q{n}")
        for day in (1, 2):
            export.request(user, f"late{day}-{n}", day * DAY_S)
    before, look = first_look(export.write(tmp_path / "before"))
    for n in range(1, 400, 2):  # of the treatment alone
        export.interaction(f"u{n}", "a", DAY_S + 100, request_id=f"r{n}")
        export.interaction(f"u{n}", "b", DAY_S + 100)
        export.interaction(f"u{n}", "c", 4 * DAY_S, request_id=f"q{n}")
    after, same = first_look(export.write(tmp_path / "after"))
    assert (look.day, look.effect) == (same.day, same.effect)
    assert [arm.clicks for arm in before.arms] == [40, 40]
    assert [arm.clicks for arm in after.arms] == [40, 40 + 400]
