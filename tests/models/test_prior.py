import pytest
import torch

from models.exact.arithmetic import freeze
from models.exact.stage_prior import LayerPrior, step_pattern

both = pytest.mark.parametrize("steps", [2, 4])


@both
def test_every_symbol_is_coded_exactly_once(steps):
    masks = LayerPrior(16, 8, steps=steps).masks(6, 10)
    assert torch.equal(sum(m.int() for m in masks), torch.ones(16, 6, 10, dtype=torch.int32))


@both
def test_each_step_codes_an_equal_share_everywhere(steps):
    for mask in LayerPrior(16, 8, steps=steps).masks(6, 10):
        assert (mask.sum(0) == 16 // steps).all()


def test_the_second_of_four_steps_is_the_diagonal_neighbour():
    pattern = step_pattern(8, 4)
    for channel in range(8):
        first, second = ((pattern[channel] == step).nonzero()[0] for step in (0, 1))
        assert ((first - second).abs() == 1).all()


def test_the_first_of_two_steps_is_a_checkerboard():
    pattern = step_pattern(8, 2)
    assert torch.equal(pattern[0], torch.tensor([[0, 1], [1, 0]]))
    assert torch.equal(pattern[7], torch.tensor([[1, 0], [0, 1]]))


def test_places_are_gathered_and_scattered_in_coding_order():
    prior = LayerPrior(10, 8, steps=4)  # groups of 3, 2, 3, 2 channels
    x = torch.arange(10 * 6 * 8, dtype=torch.float32).view(10, 6, 8)
    again = torch.zeros_like(x)
    for step, mask in enumerate(prior.masks(6, 8)):
        values = prior.gather(step, x)
        assert torch.equal(values.flatten(), x[mask])
        prior.scatter(step, values, again)
    assert torch.equal(again, x)


def test_predicting_the_coded_places_alone_gives_what_predicting_all_gives():
    torch.manual_seed(0)
    prior = freeze(LayerPrior(12, 16, steps=4))
    context = torch.randint(-3000, 3000, (1, 16, 8, 6)).double()
    known = torch.randint(-3000, 3000, (1, 12, 8, 6)).double()
    for step in range(4):
        everywhere = prior.predict(step, context, known)
        for full, coded in zip(everywhere, prior.predict_coded(step, context, known), strict=True):
            assert torch.equal(coded, prior.gather(step, full))
