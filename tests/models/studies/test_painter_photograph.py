"""Strokes fitted to a photograph, rounded, and compared with u alone."""

import json

import torch
from PIL import Image

from models.studies.painter import photograph
from models.studies.painter.photograph import BITS, best_candidate, fit, rendered, rounded
from models.studies.painter.strokes import PARAMETERS, mask_of, stroke_of


def picture(side=24):
    """A dark square on a light ground, 1×3×side×side."""
    image = torch.full((1, 3, side, side), 0.8)
    image[:, :, side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = 0.2
    return image


def test_rounding_leaves_so_many_values_and_changes_no_second_time():
    assert len(BITS) == PARAMETERS
    raw = 3 * torch.randn(4000, PARAMETERS, generator=torch.Generator().manual_seed(0))
    once = rounded(raw)
    for index, bits in enumerate(BITS):
        assert len(once[:, index].unique()) <= 2**bits
    torch.testing.assert_close(rounded(once), once, atol=1e-4, rtol=1e-4)


def test_an_angle_is_rounded_in_half_turns():
    raw = torch.zeros(1, PARAMETERS)
    raw[0, 2:5] = torch.tensor([1.0, -1.0, 0.3])
    turned = raw.clone()
    turned[0, 4] += 2  # π
    a, b = (mask_of(stroke_of(rounded(r), 24, 24), 24, 24) for r in (raw, turned))
    torch.testing.assert_close(a, b)


def test_a_candidate_takes_error_away_and_more_strokes_take_more():
    image = picture()
    ground = torch.logit(image.mean((2, 3)))
    blank = torch.sigmoid(ground)[:, :, None, None].expand_as(image)
    torch.manual_seed(0)
    stroke = best_candidate(image, blank, ground, 0.0)
    after = rendered(stroke, ground, 24, 24)
    assert (image - after).square().mean() < (image - blank).square().mean()
    errors = []
    for count in (1, 4):
        raw, ground = fit(image, count, steps=10)
        torch.testing.assert_close(rounded(raw), raw, atol=1e-4, rtol=1e-4)
        errors.append(float((image - rendered(raw, ground, 24, 24)).square().mean()))
    assert errors[1] < errors[0] < float((image - blank).square().mean())


def test_the_command_runs(tmp_path, crop):
    Image.fromarray(crop[:64, :96]).save(tmp_path / "a.png")
    threads = torch.get_num_threads()
    options = ["--out", str(tmp_path), "--image", str(tmp_path / "a.png")]
    photograph.main([*options, "--strokes", "2", "3", "--steps", "2"])
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "photograph.json").read_text())
    assert [row["strokes"] for row in found["strokes"]] == [2, 3]
    assert found["strokes"][0]["bytes"] == (2 * sum(BITS) + 15 + 7) // 8
    assert Image.open(tmp_path / "photograph.png").width > 3 * 48
