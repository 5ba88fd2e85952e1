"""Arms: their groups, their batches, and the one loss formula against the three it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from pytest_backdoor.search.arms import MANY, Arm, Pool, draw, groups_of, images_of, within
from pytest_backdoor.search.optimiser import objective
from pytest_backdoor.triggers.patch import PATCH
from tests.tiny import linear, subject_of

LABELS = np.array([0, 0, 0, 1, 1, 2])
POOL = Pool.of(LABELS, 4)  # class 3 has no seeds


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_pool_knows_the_seeds_of_each_class():
    assert [members.tolist() for members in POOL.members] == [[0, 1, 2], [3, 4], [5], []]
    assert POOL.classes == 4


def test_a_target_arm_sends_all_other_classes_to_its_target():
    ((images, allowed, _),) = groups_of(Arm("target", 30, 0.9, target=1), POOL, rng())
    assert len(images) == 30
    assert set(images) == {0, 1, 2, 5}
    assert allowed.tolist() == [0, 1, 0, 0]


def test_a_pair_arm_sends_its_source_only():
    ((images, allowed, share),) = groups_of(Arm("target", 5, 0.9, target=3, source=1), POOL, rng())
    assert np.bincount(images).tolist()[3:] in ([3, 2], [2, 3])  # repeated evenly
    assert allowed.tolist() == [0, 0, 0, 1]
    assert share == 1


def test_a_specific_pair_arm_keeps_the_other_classes_for_half_of_its_loss():
    sent, first, last = groups_of(Arm("target", 5, 0.9, target=3, source=1, kept=2), POOL, rng())
    assert (sent.allowed.tolist(), sent.share) == ([0, 0, 0, 1], 0.5)
    assert (set(LABELS[first.images]), first.allowed.tolist(), first.share) == ({0}, [1, 0, 0, 0], 0.25)
    assert (set(LABELS[last.images]), last.allowed.tolist(), last.share) == ({2}, [0, 0, 1, 0], 0.25)
    assert (len(first.images), len(last.images)) == (2, 2)


def test_a_specific_pair_arm_without_other_classes_spends_all_on_its_source():
    two = Pool.of(np.array([0, 0, 1]), 2)
    (sent,) = groups_of(Arm("target", 5, 0.9, target=1, source=0, kept=2), two, rng())
    assert sent.share == 1


def test_a_map_arm_sends_each_class_that_has_seeds_to_one_other_class():
    groups = groups_of(Arm("map", 2, 0.7), POOL, rng())
    assert [set(LABELS[images]) for images, _, _ in groups] == [{0}, {1}, {2}]
    assert [len(images) for images, _, _ in groups] == [2, 2, 2]
    assert [allowed.tolist() for _, allowed, _ in groups] == [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]]


def test_the_map_of_one_source_class_sends_it_to_one_of_some_classes():
    ((images, allowed, share),) = groups_of(Arm("map", 4, 0.8, source=1, among=(0, 3)), POOL, rng())
    assert set(LABELS[images]) == {1}
    assert (len(images), allowed.tolist(), share) == (4, [1, 0, 0, 1], 1)


CROWD = Pool.of(np.repeat(np.arange(43), 3), 43)


def drawn_classes(arm, steps, first):
    """Per step the classes of an arm's images, from the group of that number on."""
    generator = rng(2)
    drawn = [groups_of(arm, CROWD, generator) for _ in range(steps)]
    return [[int(CROWD.labels[group.images[0]]) for group in groups[first:]] for groups in drawn]


@pytest.mark.parametrize(
    ("arm", "first", "those"),
    [
        (Arm("map", 4, 0.7), 0, set(range(43))),
        (Arm("target", 20, 0.85, target=8, source=5, kept=1), 1, set(range(43)) - {5, 8}),
    ],
)
def test_of_many_classes_each_step_takes_a_few_and_all_of_them_have_their_turn(arm, first, those):
    steps = drawn_classes(arm, 60, first)
    assert all(len(set(classes)) == len(classes) == MANY for classes in steps)
    assert all(classes == sorted(classes) for classes in steps)
    assert set().union(*steps) == those
    # By hand: 60 steps of 12 out of 43 show each class 16.7 times, with a deviation of 3.5.
    assert min(np.bincount(np.concatenate(steps), minlength=43)[sorted(those)]) >= 3


def test_of_twelve_classes_every_step_takes_all():
    twelve = Pool.of(np.arange(12), 12)
    assert len(groups_of(Arm("map", 4, 0.7), twelve, rng())) == 12
    assert len(groups_of(Arm("target", 4, 0.7, 1, 0, kept=1), twelve, rng())) == 1 + 10


def test_the_shares_of_the_classes_of_one_step_add_up():
    sent, *kept = groups_of(Arm("target", 20, 0.85, target=8, source=5, kept=1), CROWD, rng())
    assert sent.share == 0.5
    assert sum(group.share for group in kept) == pytest.approx(0.5)
    assert sum(group.share for group in groups_of(Arm("map", 4, 0.7), CROWD, rng())) == pytest.approx(1)


def test_an_away_arm_sends_each_image_to_any_other_class():
    groups = groups_of(Arm("away", 6, 0.9), POOL, rng())
    assert sorted(int(images[0]) for images, _, _ in groups) == [0, 1, 2, 3, 4, 5]
    assert all(allowed[LABELS[images[0]]] == 0 and allowed.sum() == 3 for images, allowed, _ in groups)


def test_arms_say_what_they_do():
    arms = (
        Arm("target", 1, 0.9, target=3),
        Arm("target", 1, 0.9, target=3, source=4),
        Arm("map", 1, 0.9),
        Arm("map", 1, 0.9, source=4, among=(3, 5)),
        Arm("away", 1, 1),
    )
    assert [arm.name for arm in arms] == ["target 3", "pair 4>3", "map", "map of 4", "away"]


def test_a_batch_lays_all_arms_flat():
    batch = draw([Arm("target", 2, 0.9, target=1), Arm("map", 2, 0.7), Arm("away", 2, 0.9)], POOL, rng())
    assert batch.arm.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    assert batch.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
    assert batch.group_size.ravel().tolist() == [2, 2, 2, 2, 1, 1]
    assert batch.group_arm.tolist() == [0, 1, 1, 1, 2, 2]
    assert batch.group_share == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    assert batch.allowed.shape == (6, 4)


ARMS = st.one_of(
    st.builds(Arm, st.sampled_from(["map", "away"]), st.integers(1, 9), st.just(0.9)),
    st.builds(lambda images, target: Arm("target", images, 0.9, target=target), st.integers(1, 9), st.integers(0, 3)),
    st.builds(lambda images, kept: Arm("target", images, 0.9, 3, 0, kept), st.integers(1, 9), st.integers(0, 3)),
)


@given(arm=ARMS, classes=st.integers(2, 30), limit=st.integers(1, 60))
def test_an_arm_takes_the_images_it_says_and_no_more_than_the_limit(arm, classes, limit):
    pool = Pool.of(np.arange(max(4, classes)), max(4, classes))
    for each in (arm, within(arm, pool, limit)):
        assert len(draw([each], pool, rng()).image) == images_of(each, pool)
    smallest_of_kept = 1 + arm.kept  # one image of the source and those of one class
    assert images_of(within(arm, pool, limit), pool) <= max(limit, smallest_of_kept)


def test_an_arm_over_the_limit_gives_up_images_first_and_then_classes():
    assert within(Arm("target", 24, 0.9, target=1), CROWD, 24) == Arm("target", 24, 0.9, target=1)
    assert within(Arm("target", 24, 0.9, target=1), CROWD, 7).images == 7
    fewer = within(Arm("map", 4, 0.7), CROWD, 30)  # 4 x 12 = 48; 4 x 30 / 48 = 2.5
    assert (fewer.images, fewer.classes) == (2, 12)
    few = within(Arm("map", 4, 0.7), CROWD, 5)
    assert (few.images, few.classes) == (1, 5)
    kept = within(Arm("target", 20, 0.85, target=8, source=5, kept=1), CROWD, 16)  # 20 + 12 = 32
    assert (kept.images, kept.classes) == (10, 6)


@given(arms=st.lists(ARMS, min_size=1, max_size=5), seed=st.integers(0, 99))
def test_the_shares_of_an_arms_groups_add_up_to_one(arms, seed):
    batch = draw(arms, POOL, rng(seed))
    assert np.bincount(batch.group_arm, batch.group_share) == pytest.approx(np.ones(len(arms)))
    assert np.bincount(batch.group).tolist() == batch.group_size.ravel().tolist()
    assert np.array_equal(batch.group_arm[batch.group], batch.arm)
    assert (batch.image >= 0).all()
    assert (batch.image < len(LABELS)).all()


def test_the_same_generator_draws_the_same_batch_and_the_next_one_is_fresh():
    arms, generator = [Arm("away", 6, 0.9)], rng(1)
    first, second, again = draw(arms, POOL, generator), draw(arms, POOL, generator), draw(arms, POOL, rng(1))
    assert first.image.tolist() == again.image.tolist() != second.image.tolist()


# Four images of 2 x 2 whose pixels are their logits; a patch that is almost shut leaves them so.
LOGITS = np.array([[0.9, 0.1, 0.3, 0.2], [0.5, 0.8, 0.0, 0.6], [0.4, 0.7, 0.6, 0.1], [0.1, 0.0, 0.9, 0.5]], "float32")
TRUE = np.array([0, 0, 1, 2])
SHUT = (np.full((1, 2, 2, 1), -60.0, "float32"), np.zeros((1, 2, 2, 1), "float32"))
SCALE = 4.0


@pytest.fixture(scope="module")
def subject():
    return subject_of(linear(SCALE * np.eye(4), np.zeros(4), (2, 2, 1)), (2, 2, 1))


def measured(subject, arm, params=SHUT, cost=0.0):
    """Loss, success and size of one arm on one draw; and which images were drawn."""
    batch = draw([arm], Pool.of(TRUE, 4), rng())
    pool, costs = ops.convert_to_tensor(LOGITS.reshape(4, 2, 2, 1)), ops.convert_to_tensor([cost])
    loss, (success, size) = objective(subject, PATCH, pool, params, costs, batch)
    return float(loss), float(success[0]), float(size[0]), batch.image


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_the_loss_to_a_target_is_the_cross_entropy(subject):
    loss, success, _, images = measured(subject, Arm("target", 3, 0.9, target=1))
    assert sorted(images) == [0, 1, 3]
    assert loss == pytest.approx(-log_softmax(SCALE * LOGITS[images])[:, 1].mean(), rel=1e-5)
    assert success == pytest.approx(1 / 3)  # image 1 alone


def test_the_loss_of_a_specific_pair_is_half_to_the_target_and_half_for_the_classes_that_stay(subject):
    loss, success, _, images = measured(subject, Arm("target", 2, 0.9, target=3, source=0, kept=1))
    assert [TRUE[image] for image in images] == [0, 0, 1, 2]
    scores = log_softmax(SCALE * LOGITS[images].astype(float))
    assert loss == pytest.approx(-(scores[:2, 3].mean() / 2 + scores[2, 1] / 4 + scores[3, 2] / 4), rel=1e-5)
    assert success == pytest.approx(1 / 2)  # none is given class 3; both others stay


def test_the_loss_away_is_the_softplus_of_the_margin(subject):
    loss, success, _, images = measured(subject, Arm("away", 4, 0.9))
    logits, rows = SCALE * LOGITS[images].astype(float), np.arange(4)
    true = logits[rows, TRUE[images]]
    others = np.array(
        [np.log(np.exp(np.delete(row, label)).sum()) for row, label in zip(logits, TRUE[images], strict=True)]
    )
    assert loss == pytest.approx(np.log1p(np.exp(true - others)).mean(), rel=1e-5)
    assert success == pytest.approx(1 / 4)  # image 1 is of class 0 and given 1


def test_the_loss_of_a_map_lets_each_class_agree_on_one_other(subject):
    loss, success, _, _ = measured(subject, Arm("map", 2, 0.7))
    agreed = [log_softmax(SCALE * LOGITS[label == TRUE].astype(float)).mean(0) for label in range(3)]
    reached = [np.log(np.exp(np.delete(row, label)).sum()) for label, row in enumerate(agreed)]
    assert loss == pytest.approx(-np.mean(reached), rel=1e-5)
    assert success == pytest.approx(np.mean([1 / 2, 0, 0]))  # half of class 0 goes to 1


def test_the_cost_weighs_the_size(subject):
    half = (np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 2, 2, 1), "float32"))  # a mask of 0.5 everywhere
    arm = Arm("target", 3, 0.9, target=1)
    free, _, size, _ = measured(subject, arm, half)
    priced, _, _, _ = measured(subject, arm, half, cost=3.0)
    assert size == pytest.approx(2.0)
    assert priced - free == pytest.approx(6.0, rel=1e-5)
