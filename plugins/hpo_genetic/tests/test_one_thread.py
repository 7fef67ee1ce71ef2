"""Models of the genetic search leave the other cores alone."""

import numpy as np
import pytest

from hpo_genetic._one_thread import _switch, one_thread


@pytest.fixture
def threads():
    """Tells numpy's number of threads, which is two during the test."""
    get, put = _switch()
    before = get()
    put(2)
    if get() != 2:
        pytest.skip("numpy's library can't be told how many threads to use, or there is one core")
    yield get
    put(before)


def test_numpy_has_one_thread_for_models_and_its_own_number_afterwards(threads):
    with one_thread():
        assert threads() == 1
        np.linalg.solve(np.eye(200), np.ones(200))
    assert threads() == 2


def test_the_number_is_put_back_after_an_error(threads):
    with pytest.raises(np.linalg.LinAlgError), one_thread():
        np.linalg.solve(np.zeros((3, 3)), np.ones(3))
    assert threads() == 2
