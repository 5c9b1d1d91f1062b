import torch

from models.exact.arithmetic import freeze
from models.exact.stage_prior import STEPS, StagePrior


def masks(prior, height, width):
    """Per step the coded places, boolean C×H×W."""
    every = []
    for step in range(len(prior.steps)):
        mask = torch.zeros(prior.channels, height, width, dtype=torch.bool)
        for channels, row, column in prior.places(step):
            assert not mask[channels, row::2, column::2].any()
            mask[channels, row::2, column::2] = True
        every.append(mask)
    return every


def test_every_symbol_is_coded_exactly_once():
    counts = sum(mask.int() for mask in masks(StagePrior(16, 8), 6, 10))
    assert torch.equal(counts, torch.ones(16, 6, 10, dtype=torch.int32))


def test_each_step_codes_an_equal_share_everywhere():
    for mask in masks(StagePrior(16, 8), 6, 10):
        assert (mask.sum(0) == 16 // STEPS).all()


def test_the_second_step_is_the_diagonal_neighbour():
    first, second, *_ = masks(StagePrior(8, 8), 2, 2)
    for a, b in zip(first, second, strict=True):
        assert ((a.nonzero()[0] - b.nonzero()[0]).abs() == 1).all()


def test_places_are_gathered_and_scattered_in_coding_order():
    prior = StagePrior(10, 8)  # groups of 3, 2, 3, 2 channels
    x = torch.arange(10 * 6 * 8, dtype=torch.float32).view(10, 6, 8)
    again = torch.zeros_like(x)
    for step, mask in enumerate(masks(prior, 6, 8)):
        values = prior.gather(step, x)
        assert torch.equal(values.flatten(), x[mask])
        prior.scatter(step, values, again)
    assert torch.equal(again, x)


def test_predicting_the_coded_places_alone_gives_what_predicting_all_gives():
    torch.manual_seed(0)
    prior = freeze(StagePrior(12, 16))
    context = torch.randint(-3000, 3000, (1, 16, 8, 6)).double()
    known = torch.randint(-3000, 3000, (1, 12, 8, 6)).double()
    for step in range(STEPS):
        everywhere = prior.steps[step](context, known)
        for full, coded in zip(everywhere, prior.predict(step, context, known), strict=True):
            assert torch.equal(coded, prior.gather(step, full))
