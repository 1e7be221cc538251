"""The loop of a device that stays on, under a clock that only its own waits move."""

import pytest

from pocketrec_bundle.settings.rollout import SyncPolicy
from pocketrec_edge.errors import SelfTestFailedError, SyncError
from pocketrec_edge.sync.client import CURRENT, SyncReport
from pocketrec_edge.sync.wake import FIRST_RETRY_S, after_hint
from pocketrec_edge.sync.watch import Watch

POLICY = SyncPolicy(every_s=1000, spread_s=100)
ID = bytes(16)


class World:
    """Time, a server's answers and hints; `syncs` and `listened` are the moments of each."""

    def __init__(self, *, failing=(), hints=()):
        self.now, self.syncs, self.listened, self.told = 0.0, [], [], []
        self._failing, self._hints = dict(failing), list(hints)

    def sync(self):
        self.syncs.append(self.now)
        if error := self._failing.get(len(self.syncs)):
            raise error
        return SyncReport(
            status=CURRENT,
            why="",
            from_release=None,
            to_release=None,
            next_check_utc=int(self.now) + 1000,
        )

    def listen(self, last, most_s):
        """As a server does: the newest hint at once, unless it is the last one that was heard."""
        self.listened.append((self.now, last))
        over = [said for at, said in self._hints if at <= self.now and isinstance(said, str)]
        if over and over[-1] != last:
            yield over[-1]
        for at, said in self._hints:
            if self.now < at <= self.now + most_s or (at == self.now and said not in over):
                self.now = at
                if isinstance(said, Exception):
                    raise said
                yield said
        self.now += most_s
        yield None

    def sleep(self, seconds):
        self.now += seconds

    def run(self, n_syncs):
        watch = Watch(
            sync=self.sync,
            listen=self.listen,
            known=lambda: "1.0",
            policy=lambda: POLICY,
            bucket_id=ID,
            tell=self.told.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        watch.run(lambda: len(self.syncs) >= n_syncs)
        return watch


@pytest.mark.parametrize("hints", [[], [(5.0, None)]])
def test_a_clock_that_is_set_back_stops_no_sync(hints):
    class SetBack(World):
        def listen(self, last, most_s):
            if len(self.listened) == 1:
                self.now -= 10**8
            yield from super().listen(last, most_s)

    world = SetBack(hints=hints)
    world.run(4)
    assert max(world.syncs) < 10**4 and len(world.listened) < 20


def test_without_hints_it_syncs_when_the_last_report_said():
    world = World()
    world.run(3)
    assert world.syncs == [0, 1000, 2000]
    assert world.listened == [(0, "1.0"), (1000, "1.0")]


def test_a_hint_brings_the_next_sync_forward_by_a_random_wait():
    world = World(hints=[(300.0, "2.0")])
    world.run(3)
    jitter = after_hint("2.0", POLICY, ID)
    assert 0 < jitter < 100
    assert world.syncs[1] == pytest.approx(300 + jitter)
    assert world.syncs[2] == pytest.approx(world.syncs[1] + 1000, abs=1)


def test_a_hint_never_puts_a_sync_off():
    late = World(hints=[(999.0, "2.0")])
    late.run(2)
    assert late.syncs == [0, 1000]


def test_failures_wait_longer_each_time_and_a_hint_heard_before_is_not_heard_again():
    errors = {2: SyncError("gone"), 3: SelfTestFailedError("wrong"), 4: SyncError("gone")}
    world = World(failing=errors, hints=[(300.0, "2.0")])
    watch = world.run(5)
    assert len(world.syncs) == 5
    assert world.told[1:4] == list(errors.values())
    waits = [after - before for before, after in zip(world.syncs, world.syncs[1:], strict=False)]
    for n, wait in enumerate(waits[1:4]):
        assert 0 <= wait <= FIRST_RETRY_S * 2**n
    assert watch.failures == 0


def test_a_hint_that_nothing_comes_of_is_followed_once():
    """A cache may show the old metadata still, or the hour forbids to sync: no loop comes of it."""
    world = World(hints=[(300.0, "2.0"), (700.0, "3.0")])
    world.run(4)
    jitter = [after_hint(hint, POLICY, ID) for hint in ("2.0", "3.0")]
    assert world.syncs == pytest.approx([0, 300 + jitter[0], 700 + jitter[1], world.syncs[3]])
    assert world.syncs[3] >= world.syncs[2] + 999


def test_a_server_without_hints_is_asked_again_now_and_then_and_syncs_go_on():
    world = World(hints=[(at, SyncError("404")) for at in range(1000)])
    world.run(2)
    assert world.syncs == [0, 1000]
    assert 2 <= len(world.listened) < 20
