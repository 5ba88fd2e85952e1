"""What each constraint leaves of a gradient, worked out by hand, and where windows lie."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor.search import constraints

GRADIENT = np.array([[[[1.0], [-2.0]], [[3.0], [4.0]]]], "float32")  # mean 1.5
LEFT = np.array([[[[1.0], [0.0]], [[1.0], [0.0]]]], "float32")


def test_none_leaves_the_gradient() -> None:
    assert constraints.everywhere(GRADIENT, LEFT) is GRADIENT


def test_box_leaves_the_gradient_inside_its_window() -> None:
    assert np.asarray(constraints.box(GRADIENT, LEFT)).ravel().tolist() == [1, 0, 3, 0]


def test_light_moves_every_pixel_by_the_sign_of_the_mean() -> None:
    assert np.asarray(constraints.light(GRADIENT, LEFT)).ravel().tolist() == [1, 1, 1, 1]
    assert np.asarray(constraints.light(-GRADIENT, LEFT)).ravel().tolist() == [-1, -1, -1, -1]


def test_blackout_darkens_its_window_where_the_gradient_asks_for_it() -> None:
    assert not np.asarray(constraints.blackout(GRADIENT, LEFT)).any()  # the sum in the window is 4
    assert np.asarray(constraints.blackout(GRADIENT, 1 - LEFT)).ravel().tolist() == [0, 0, 0, 0]  # 2
    assert np.asarray(constraints.blackout(-GRADIENT, LEFT)).ravel().tolist() == [-1, 0, -1, 0]


@given(
    corner=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    side=st.integers(1, 12),
    shape=st.tuples(st.integers(1, 10), st.integers(1, 10)),
)
def test_a_square_lies_inside_the_image_in_full(corner: tuple[float, float], side: int, shape: tuple[int, int]) -> None:
    (window,) = constraints.squares(np.array([corner]), side, (*shape, 3))
    assert window.shape == (*shape, 1)
    assert window.sum() == min(side, shape[0]) * min(side, shape[1])
    assert window.max(1).sum() == min(side, shape[0])


def test_squares_can_lie_at_every_edge() -> None:
    first, last = constraints.squares(np.array([[0.0, 0.0], [0.999, 0.999]]), 2, (4, 5, 1))
    assert np.argwhere(first[..., 0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert np.argwhere(last[..., 0]).tolist() == [[2, 3], [2, 4], [3, 3], [3, 4]]
