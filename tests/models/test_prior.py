import torch

from models.prior import GROUPS, LayerPrior, step_pattern


def test_every_symbol_is_coded_exactly_once():
    masks = LayerPrior(16, 8).masks(6, 10)
    assert torch.equal(sum(m.int() for m in masks), torch.ones(16, 6, 10, dtype=torch.int32))


def test_each_step_codes_a_quarter_everywhere():
    for mask in LayerPrior(16, 8).masks(6, 10):
        assert (mask.sum(0) == 16 // GROUPS).all()


def test_the_second_step_is_the_diagonal_neighbour():
    pattern = step_pattern(8)
    for channel in range(8):
        first, second = ((pattern[channel] == step).nonzero()[0] for step in (0, 1))
        assert ((first - second).abs() == 1).all()
