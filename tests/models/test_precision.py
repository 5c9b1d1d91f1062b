import threading

import pytest
import torch

from models.precision import full_precision


@pytest.fixture(params=[True, False])
def outside(request):
    """Whether TF32 is allowed before."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cudnn.allow_tf32 = before


def test_a_thread_that_leaves_does_not_change_the_precision_of_another(outside):
    entered, leave = threading.Event(), threading.Event()

    def work():
        with full_precision():
            entered.set()
            leave.wait(10)

    with full_precision():
        other = threading.Thread(target=work)
        other.start()
        assert entered.wait(10)
    assert not torch.backends.cudnn.allow_tf32
    leave.set()
    other.join()
    assert torch.backends.cudnn.allow_tf32 == outside


def test_an_error_gives_the_flag_back(outside):
    with pytest.raises(KeyError), full_precision():
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 == outside


def test_cudnn_stays_in_use():
    before = torch.backends.cudnn.enabled
    with full_precision():
        assert torch.backends.cudnn.enabled == before
