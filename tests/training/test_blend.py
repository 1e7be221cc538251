import numpy as np
import pytest

from bundle.features import History
from training import blend
from training.cases import Cases

DAY = 86_400


class Shop:
    """Two users, four items, and popularity; the part of a dataset that the blend reads."""

    items = range(4)
    fold = np.zeros(5, np.int8)
    rows = np.array([0, 1, 0, 2, 2], np.int32)
    ts = np.array([0, 0, 14, 21, 0]) * DAY
    offsets = np.array([0, 4, 5])

    def popularity(self):
        return np.bincount(self.rows, minlength=4).astype(np.float32)

    def history(self, user, end):
        part = slice(self.offsets[user], self.offsets[user] + end)
        return History(self.rows[part], self.rows[part], self.ts[part])


def flat(block):
    return np.tile([0.0, 0.0, 0.0, 2.0], (len(block), 1))


def test_own_signals_by_hand():
    rows, own = blend.own_signals(Shop(), 0, 3, 21 * DAY)
    assert rows.tolist() == [0, 1]
    bought, once = own
    recent = 0.5 ** (21 / 60) + 0.5 ** (7 / 60)
    assert bought.tolist() == pytest.approx([1, np.log(2), np.log(2), np.log(recent + 0.05)])
    assert once.tolist() == pytest.approx([1, 0, np.log(4), np.log(0.5 ** (21 / 60) + 0.05)])
    assert blend.own_signals(Shop(), 0, 0, 0)[0].tolist() == []


def test_signals_stand_in_their_columns():
    found = blend.Signals(Shop(), flat).of([(0, 3)])[0]
    assert found[:, 0].tolist() == [0, 0, 0, 2]
    assert np.argmax(found[:, 1]) in (0, 2)  # two training events each
    assert found[:, 4].tolist() == [1, 1, 0, 0]
    assert not found[2:, 4:].any()


def cases(setting, targets):
    return Cases(
        setting=setting,
        users=np.array([0]),
        ends=np.array([3]),
        offsets=np.array([0, len(targets)]),
        targets=np.array(targets, np.int32),
    )


def test_fit_learns_whether_people_buy_again():
    signals = blend.Signals(Shop(), flat)
    again = blend.fit(signals, cases("all", [0]))
    assert again.loss < again.loss_before
    assert blend.scorer(signals, again)([(0, 3)])[0].argmax() == 0
    anew = blend.fit(signals, cases("all", [3]))
    assert blend.scorer(signals, anew)([(0, 3)])[0].argmax() == 3


def test_gradient_is_that_of_the_loss(monkeypatch):
    from scipy.optimize import approx_fprime

    caught = {}

    def catch(loss, start, **_):
        caught["loss"] = loss
        return type("Found", (), {"x": start, "fun": 0.0})

    monkeypatch.setattr(blend, "minimize", catch)
    for setting in ("all", "new_to_user"):
        blend.fit(blend.Signals(Shop(), flat), cases(setting, [2, 3]))
        at = np.linspace(-0.5, 0.8, 8)
        numeric = approx_fprime(at, lambda w: caught["loss"](w)[0], 1e-3)
        assert caught["loss"](at)[1].tolist() == pytest.approx(numeric.tolist(), abs=2e-3)
