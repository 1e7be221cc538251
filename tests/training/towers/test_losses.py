import numpy as np
import pytest
import tensorflow as tf

from pocketrec_training.towers import losses

RNG = np.random.default_rng(5)
P, N, K, D = 7, 11, 5, 4
USERS = RNG.normal(size=(P, D)).astype(np.float32)
TABLE = RNG.normal(size=(N, D)).astype(np.float32)
TARGETS = np.array([0, 3, 10, 3, 1, 7, 7], np.int32)
WEIGHTS = np.array([1, 1, 0, 1, 1, 0, 1], np.float32)
DRAWN = np.array([2, 3, 5, 9, 7], np.int32)  # TensorFlow removes one hit of an item only


def test_full_softmax_and_its_gradient_equal_autodiff():
    users, table = tf.Variable(USERS), tf.Variable(TABLE)
    with tf.GradientTape(persistent=True) as tape:
        ours = losses.full_softmax(users, table, tf.constant(TARGETS), tf.constant(WEIGHTS))
        logits = tf.matmul(users, table, transpose_b=True)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(TARGETS, logits)
        wanted = tf.reduce_sum(each * WEIGHTS) * 1.0
        ours, wanted = 3.0 * ours, 3.0 * wanted  # the upstream gradient counts too
    assert float(ours) == pytest.approx(float(wanted), rel=1e-5)
    for variable in (users, table):
        mine, theirs = tape.gradient(ours, variable), tape.gradient(wanted, variable)
        np.testing.assert_allclose(mine, tf.convert_to_tensor(theirs), rtol=1e-4, atol=1e-5)


def test_full_softmax_stays_finite_for_huge_scores():
    value = losses.full_softmax(
        tf.constant(USERS * 100), tf.constant(TABLE * 100), tf.constant(TARGETS), tf.ones(P)
    )
    assert np.isfinite(float(value))


def test_sampled_softmax_equals_tensorflows():
    expected = RNG.uniform(0.1, 1.0, N).astype(np.float32)
    ours = losses.sampled_softmax(
        tf.constant(USERS),
        tf.constant(TABLE[TARGETS]),
        tf.constant(TABLE[DRAWN]),
        targets=tf.constant(TARGETS),
        negative_rows=tf.constant(DRAWN),
        log_expected=tf.constant(np.log(expected)),
        weights=tf.constant(WEIGHTS),
    )
    theirs = tf.nn.sampled_softmax_loss(
        weights=TABLE,
        biases=np.zeros(N, np.float32),
        labels=TARGETS[:, None].astype(np.int64),
        inputs=USERS,
        num_sampled=K,
        num_classes=N,
        sampled_values=(DRAWN.astype(np.int64), expected[TARGETS][:, None], expected[DRAWN]),
        remove_accidental_hits=True,
    )
    assert float(ours) == pytest.approx(float(tf.reduce_sum(theirs * WEIGHTS)), rel=1e-5)


def test_hard_negatives_raise_the_loss():
    def value(hard):
        return float(
            losses.sampled_softmax(
                tf.constant(USERS),
                tf.constant(TABLE[TARGETS]),
                tf.constant(TABLE[DRAWN]),
                targets=tf.constant(TARGETS),
                negative_rows=tf.constant(DRAWN),
                log_expected=tf.zeros(N),
                weights=tf.ones(P),
                hard=hard,
            )
        )

    near = tf.constant(np.repeat(USERS[:, None], 2, axis=1))  # each user's own direction
    assert value(near) > value(None)


def test_gbce_by_hand():
    """n = 11 items, K = 2 negatives: a = 0.2; t = 0 gives beta 1, t = 1 gives beta 0.2."""
    user, good = np.array([[1.0, 0.0]], np.float32), np.array([[2.0, 0.0]], np.float32)
    others = np.array([[-1.0, 0.0], [0.5, 0.0]], np.float32)
    for t, beta in ((0.0, 1.0), (1.0, 0.2), (0.5, 0.6)):
        value = losses.gbce(
            tf.constant(user),
            tf.constant(good),
            tf.constant(others),
            targets=tf.constant([4]),
            negative_rows=tf.constant([1, 2]),
            n_items=11,
            calibration=t,
            weights=tf.ones(1),
        )
        sigmoid = 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.5])))
        wanted = -beta * np.log(sigmoid[0]) - np.log(1 - sigmoid[1:]).sum()
        assert float(value) == pytest.approx(wanted, rel=1e-5)


def test_a_negative_that_is_the_target_does_not_count():
    def value(rows, vectors):
        return float(
            losses.gbce(
                tf.constant(USERS[:1]),
                tf.constant(TABLE[4:5]),
                tf.constant(vectors),
                targets=tf.constant([4]),
                negative_rows=tf.constant(rows),
                n_items=N,
                calibration=0.0,
                weights=tf.ones(1),
            )
        )

    assert value([4, 1], TABLE[[4, 1]]) == pytest.approx(value([4, 1], TABLE[[9, 1]]))
