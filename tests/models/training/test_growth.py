"""A grown network draws what the small one drew, and all of it learns."""

import copy
from dataclasses import replace

import pytest
import torch

from models.registry import BUILDERS
from models.ssvae.networks import SSVAE
from models.training.config import TrainConfig
from models.training.growth import grow
from models.training.trainer import Trainer
from models.weights_file import WeightsError, export_weights

SMALL = BUILDERS["ssvae-tiny"]().config
LARGE = replace(
    SMALL,
    widths=(16, 24, 20, 12),
    analysis_depths=(2, 3, 1, 1),
    synthesis_depths=(1, 2, 1, 1, 3, 1),
)


def pair(seed=0):
    torch.manual_seed(seed)
    small = SSVAE(SMALL)
    for parameter in small.parameters():  # curves and biases start at zero: nothing to see there
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    large = SSVAE(LARGE)
    return small, large


def drawn(model, seed=1):
    torch.manual_seed(seed)
    image = torch.rand(2, 3, 64, 64)
    kept = torch.tensor([3, 3])
    return model(image, torch.tensor([20.0, 90.0]), kept)


def test_a_grown_network_draws_the_same():
    small, large = pair()
    grow(large, small.state_dict())
    before, after = drawn(small), drawn(large)
    assert torch.allclose(before.image, after.image, atol=1e-4)
    assert torch.allclose(before.bits, after.bits, rtol=1e-3)
    for factor in (2, 4):
        assert torch.allclose(before.small[factor], after.small[factor], atol=1e-4)


def test_what_is_new_learns():
    small, large = pair()
    grow(large, small.state_dict())
    result = drawn(large)
    pictures = [result.image, *result.small.values()]
    (result.bits.mean() + sum(p.square().mean() for p in pictures)).backward()
    reached = {
        "analysis.stages.3.1.project.weight": ...,  # a new block: from its last layer on
        "analysis.stages.1.0.project.weight": slice(16, None),  # new inputs of an old block
        "synthesis.head_y2.mix.weight": slice(16, None),
        "heads.2.merge.weight": slice(36, None),  # the new channels of the second half
    }
    for name, new in reached.items():
        gradient = dict(large.named_parameters())[name].grad
        part = gradient[:, slice(None) if new is ... else new]
        assert part.abs().max() > 0, name


def test_only_wider_and_deeper_trunks_can_grow():
    small, large = pair()
    narrower = {k: v for k, v in large.state_dict().items() if k in small.state_dict()}
    with pytest.raises(ValueError, match="does not fit into"):
        grow(small, narrower)
    with pytest.raises(ValueError, match="lacks it"):
        grow(small, large.state_dict())
    with pytest.raises(ValueError, match="only blocks can be new"):
        grow(SSVAE(replace(SMALL, prior_depth=2)), small.state_dict())


@pytest.mark.parametrize("kind", ["weights", "checkpoint"])
def test_a_run_begins_from_a_smaller_network(tmp_path, kind):
    small, _ = pair()
    path = tmp_path / ("small.safetensors" if kind == "weights" else "small.pt")
    if kind == "weights":
        path.write_bytes(export_weights(copy.deepcopy(small), "ssvae-tiny"))
        path.with_suffix(".training.json").write_text("[]")
    else:
        torch.save({"ema": small.state_dict(), "history": [{"run": "first"}]}, path)
    config = TrainConfig(data=tmp_path, out=tmp_path / "run", init=path, init_grow=True)
    trainer = Trainer(config, build=lambda: SSVAE(LARGE))
    trainer.begin_from(path)
    tolerance = 0.02 if kind == "weights" else 1e-4  # half precision
    assert torch.allclose(drawn(trainer.model).image, drawn(small).image, atol=tolerance)
    assert torch.equal(drawn(trainer.ema).image, drawn(trainer.model).image)


def test_what_cannot_be_grown_names_the_file(tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"ema": BUILDERS["convdraw-tiny"]().state_dict(), "history": []}, path)
    trainer = Trainer(
        TrainConfig(data=tmp_path, out=tmp_path / "run", init_grow=True),
        build=lambda: SSVAE(LARGE),
    )
    with pytest.raises(WeightsError, match=r"other\.pt: these weights cannot be grown"):
        trainer.begin_from(path)
