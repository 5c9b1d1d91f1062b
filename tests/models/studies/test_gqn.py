"""Scenes are drawn as geometry says, and the network's mathematics hold."""

import json
import math

import numpy as np
import pytest
import torch

from models.studies.gqn import training
from models.studies.gqn.networks import (
    GQN,
    GQNConfig,
    Moments,
    deviation,
    divergence,
    from_uint8,
    log_likelihood,
)
from models.studies.gqn.scenes import (
    _SOLIDS,
    HEIGHT,
    KINDS,
    ROOM,
    Scene,
    Solid,
    random_pose,
    random_scene,
    rays,
    render,
    views,
)
from models.studies.priors.small_vae import importance_weighted

TINY = GQNConfig(steps=2, hidden=8, latent=2, representation=8)


def tiny():
    torch.manual_seed(0)
    model = GQN(TINY).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def some_views(count=2, each=3):
    images, poses = map(torch.from_numpy, views(count, each, 16, seed=5))
    return from_uint8(images).double(), poses.double()


# -- scenes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rays_meet_a_solid_on_its_surface(kind):
    solid = Solid(kind, 0.1, -0.2, 0.3, (1, 0, 0))
    origin, directions = rays(random_pose(np.random.default_rng(1)), 48)
    depth, normal = _SOLIDS[kind](solid, origin, directions)
    hit = np.isfinite(depth)
    assert hit.any()
    assert not hit.all()
    point = (origin + depth[hit][:, None] * directions[hit]) - [0.1, 0.3, -0.2]
    if kind == "sphere":
        distance = np.linalg.norm(point, axis=1)
    elif kind == "cube":
        distance = np.abs(point).max(1)
    else:  # on the side or on the lid
        distance = np.maximum(np.hypot(point[:, 0], point[:, 2]), point[:, 1])
    assert np.allclose(distance, 0.3, atol=1e-9)
    assert np.allclose(np.linalg.norm(normal[hit], axis=1), 1)
    assert ((normal[hit] * directions[hit]).sum(1) < 1e-9).all()  # surfaces face the camera


def test_the_marched_distance_to_a_sphere_is_the_computed_one():
    """Small steps along a ray until it is inside, against the formula."""
    solid = Solid("sphere", 0.0, 0.1, 0.28, (1, 0, 0))
    origin, directions = rays(random_pose(np.random.default_rng(3)), 24)
    depth, _ = _SOLIDS["sphere"](solid, origin, directions)
    steps = np.linspace(0, 4, 8001)
    path = origin + steps[:, None, None, None] * directions
    inside = np.linalg.norm(path - [0.0, 0.28, 0.1], axis=-1) <= 0.28
    marched = np.where(inside.any(0), steps[inside.argmax(0)], np.inf)
    both = np.isfinite(depth) & np.isfinite(marched)
    assert np.abs(depth[both] - marched[both]).max() < 1e-3
    assert (np.isfinite(depth) == np.isfinite(marched)).mean() > 0.99


def test_a_room_alone_shows_its_walls():
    walls = np.eye(6, 3)
    image = render(Scene(walls, ()), random_pose(np.random.default_rng(0)), 32)
    assert image.dtype == np.uint8
    colours = {tuple(c) for c in (image.reshape(-1, 3) > 0).astype(int)}
    assert colours <= {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)}
    assert len(colours) > 1


def test_solids_stand_apart_inside_the_room_and_seeds_repeat():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = random_scene(rng)
        assert 1 <= len(scene.solids) <= 3
        for solid in scene.solids:
            assert max(abs(solid.x), abs(solid.z)) + solid.size < ROOM
            assert 2 * solid.size < HEIGHT
    first, second = (views(2, 2, 8, seed=4) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


# -- networks ----------------------------------------------------------------------------------


@torch.no_grad()
def test_the_order_of_views_does_not_matter():
    model = tiny()
    seen, poses = some_views(each=4)
    order = torch.tensor([2, 0, 3, 1])
    scene = model.represent(seen, poses)
    assert torch.allclose(scene, model.represent(seen[:, order], poses[:, order]), atol=1e-12)
    assert not torch.allclose(scene, model.represent(seen[:, :3], poses[:, :3]))
    assert not torch.allclose(scene, model.represent(seen, poses[:, order]))
    assert (model.represent(seen[:, :0], poses[:, :0]) == 0).all()


def test_divergences_are_those_of_gaussians():
    torch.manual_seed(1)
    q, p = (Moments(torch.randn(2, 3, 2, 2), 0.5 * torch.randn(2, 3, 2, 2)) for _ in range(2))
    normals = [torch.distributions.Normal(m.mean, m.log_scale.exp()) for m in (q, p)]
    expected = torch.distributions.kl_divergence(*normals).flatten(1).sum(1)
    torch.testing.assert_close(divergence(q, p), expected)


@torch.no_grad()
def test_sampled_and_closed_divergence_agree_and_bounds_are_ordered():
    model = tiny()
    seen, poses = some_views(count=1)
    count = 600
    scene = model.represent(seen[:, :2], poses[:, :2]).expand(count, -1, -1, -1)
    picture, pose = seen[:, 2].expand(count, -1, -1, -1), poses[:, 2].expand(count, -1)
    drawn = model(scene, pose, picture, generator=torch.Generator().manual_seed(2))
    error = float(drawn.log_ratio.std() + drawn.divergence.std()) / math.sqrt(count)
    # Later divergences depend on earlier draws: means agree, single draws do not.
    assert float(-drawn.log_ratio.mean()) == pytest.approx(
        float(drawn.divergence.mean()), abs=5 * error
    )
    weights = log_likelihood(picture, drawn.picture, 0.1) + drawn.log_ratio
    assert float(weights.mean()) <= float(importance_weighted(weights[None])[0])


@torch.no_grad()
def test_without_noise_the_prior_draws_one_picture():
    model = tiny()
    seen, poses = some_views()
    scene = model.represent(seen[:, :2], poses[:, :2])
    first, second = (model(scene, poses[:, 2], temperature=0.0).picture for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, model(scene, poses[:, 1], temperature=0.0).picture)


def test_gradients_reach_every_parameter():
    model = tiny()
    seen, poses = some_views()
    scene = model.represent(seen[:, :2], poses[:, :2])
    drawn = model(scene, poses[:, 2], seen[:, 2])
    loss = drawn.divergence.mean() - log_likelihood(seen[:, 2], drawn.picture, 0.1).mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_deviation_falls_as_published():
    assert deviation(0, 100) == pytest.approx(0.2)
    assert deviation(75, 100) == deviation(100, 100) == pytest.approx(0.07)


def test_the_command_runs_and_goes_on(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--steps", "2", "--batch", "2", "--scenes", "3"]
    arguments += ["--held-out", "2", "--sheet", "1", "--side", "8"]
    training.main(arguments)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["contexts"] for row in found["errors"]] == list(range(6))
    assert (tmp_path / "sheet.png").stat().st_size > 0
    assert "5 contexts" in capsys.readouterr().out
    training.main(arguments)  # complete: nothing is trained again
    assert json.loads((tmp_path / "results.json").read_text())["steps"] == 2
    with pytest.raises(SystemExit):
        training.main([*arguments[:2], "--steps", "3"])
    assert "name another --out" in capsys.readouterr().err
