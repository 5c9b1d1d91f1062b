import json

from PIL import Image

from benchmarks import super_resolution
from benchmarks.bench import metrics


def test_every_method_is_measured_on_the_same_images(tmp_path, crop, monkeypatch, capsys):
    monkeypatch.setattr(super_resolution, "ssimulacra2", metrics.psnr)  # quick, and of no package
    Image.fromarray(crop[:70, :90]).save(tmp_path / "a.png")
    out = tmp_path / "r.json"
    arguments = ["--side", "64", "--factors", "2", "--reductions", "average"]
    super_resolution.main([str(tmp_path), "-o", str(out), *arguments])
    found = json.loads(out.read_text())["sets"][tmp_path.name]
    by_method = {line["method"]: line for line in found["summary"]}
    assert list(by_method) == ["bicubic", "Lanczos", "back-projection", "ssvae"]
    assert by_method["bicubic"]["psnr_above_bicubic"] == 0
    assert by_method["ssvae"]["psnr_above_bicubic"] == 1
    assert len(found["rows"]) == 4
    assert "1 images" in capsys.readouterr().out
