from pocketrec_training.monitoring.progress import LOGGED_EVERY_S, Progress, logged_to


def test_steps_are_logged_with_their_notes_and_repeats_only_now_and_then(tmp_path):
    now = [0.0]
    log = tmp_path / "new" / "evaluate.log"
    with logged_to(log, lambda: now[0]):
        with Progress("evaluate", 3) as bar:
            bar.advance(1, "two towers")
            bar.advance(1, "popularity")
        with Progress("items", 4) as bar:
            bar.advance(1)
            bar.advance(2)
            now[0] += LOGGED_EVERY_S
            bar.advance(3)
            bar.advance(4)
    assert log.read_text().splitlines() == [
        "1970-01-01 00:00:00 evaluate 1/3 two towers",
        "1970-01-01 00:00:00 evaluate 1/3 popularity",
        "1970-01-01 00:00:00 items 1/4",
        "1970-01-01 00:00:10 items 3/4",
        "1970-01-01 00:00:10 items 4/4",
    ]


def test_nothing_is_logged_outside_the_block(tmp_path):
    with logged_to(tmp_path / "a.log"):
        pass
    with Progress("late", 1) as bar:
        bar.advance(1, "after")
    assert (tmp_path / "a.log").read_text() == ""
