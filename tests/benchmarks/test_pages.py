"""Pages say what was measured, with the weights that are shipped."""

import json

import pytest

from benchmarks import pages
from benchmarks.pages import EFFORT, SETS, PageError, fill, read, results_of
from models.names import MODEL_IDS
from models.weights_file import weights_info


@pytest.fixture
def results(tmp_path):
    """A folder with a results file of the shipped weights and one of others."""
    for name, weights in (
        ("shipped.json", weights_info("ssvae").fingerprint.hex()),
        ("other.json", "00000000"),
    ):
        (tmp_path / name).write_text(json.dumps({"model": "ssvae", "weights": weights}))
    (tmp_path / "nameless.json").write_text("{}")
    return tmp_path


def test_committed_pages_are_those_that_the_results_give():
    for path, text in pages.pages().items():
        assert path.read_text() == text, f"{path}: run python -m benchmarks.pages"


def test_tables_of_other_weights_are_refused(results):
    assert read("shipped.json", results)["model"] == "ssvae"
    with pytest.raises(PageError, match="measured with weights 00000000"):
        read("other.json", results)
    with pytest.raises(PageError, match="measured with weights None"):
        read("nameless.json", results)
    with pytest.raises(PageError, match="not measured yet"):
        read("missing.json", results)


def test_every_shipped_model_has_results():
    read(EFFORT)
    for model in MODEL_IDS:
        assert {result["model"] for result in results_of(model).values()} == {model}
    for model in ("ssvae", "ssvae-psnr"):
        assert list(results_of(model)) == list(SETS.values())


def test_results_are_found_by_the_name_of_the_model(tmp_path):
    weights = weights_info("convdraw").fingerprint.hex()
    result = {"model": "convdraw", "weights": weights}
    with pytest.raises(PageError, match=r"convdraw-eval-cpu\.json: not measured yet"):
        results_of("convdraw", tmp_path)
    (tmp_path / "convdraw-eval-cpu.json").write_text(json.dumps(result))
    assert results_of("convdraw", tmp_path) == {"Validation images": result}
    (tmp_path / "convdraw-large-cpu.json").write_text(json.dumps(result))
    assert results_of("convdraw", tmp_path)["Large photographs"] == result
    (tmp_path / "convdraw-large-cpu.json").write_text(json.dumps(result | {"weights": "0"}))
    with pytest.raises(PageError, match="measured with weights 0"):
        results_of("convdraw", tmp_path)


def test_a_block_is_filled_and_the_rest_stays():
    page = "before\n<!-- table: a -->\nold\n<!-- end -->\nafter <!-- end -->\n"
    new = fill(page, {"a": ["1", "2"]})
    assert new == "before\n<!-- table: a -->\n1\n2\n<!-- end -->\nafter <!-- end -->\n"
    assert fill(new, {"a": ["1", "2"]}) == new
    with pytest.raises(PageError, match="no table 'a'"):
        fill(page, {"b": []})


def test_rates_have_a_line_for_each_anchor_and_a_column_for_each_metric_that_was_measured():
    def result(**anchors):
        bands = {name: {"low": {"percent": v}, "high": None} for name, v in anchors.items()}
        return {"bd_rate_percent": anchors, "bands": bands}

    eye = result(jpeg=-50.0) | {"bd_rate_ssimulacra2_percent": {"jpeg": -60.04, "avif-iq-4": 2.0}}
    sets = {"photographs": result(jpeg=-40.0, jxl=-10.0), "large": result(jpeg=-30.0)}
    head, _, *lines = pages.rates(sets, {"photographs": eye})
    assert head.split(" | ")[1:] == ["SSIMULACRA2", "PSNR", "… low", "large: PSNR", "… low |"]
    assert lines == [
        "| JPEG | −60.0% | −40.0% | −40.0% | −30.0% | −30.0% |",
        "| AVIF, tune=iq, speed 4 | +2.0% | – | – | – | – |",
        "| JPEG XL | – | −10.0% | −10.0% | – | – |",
    ]


def test_efforts_have_a_line_each_with_the_bands_of_jpeg_2000():
    def result(effort, rate):
        bands = {"jpeg2000": {"low": {"percent": rate - 1}, "high": None}}
        rates = {"jpeg2000": rate, "avif-psnr": rate + 10}
        return {"effort": effort, "bd_rate_percent": rates, "bands": bands}

    head, _, *lines = pages.efforts_by_error([result(1, -20.0), result(9, -30.0)])
    assert (
        head
        == "| effort, against | JPEG 2000 | AVIF, tune=psnr | JPEG 2000, low | JPEG 2000, high |"
    )
    assert lines == ["| 1 | −20.0% | −10.0% | −21.0% | – |", "| 9 | −30.0% | −20.0% | −31.0% | – |"]


def test_small_pictures_say_where_not_all_fit():
    def row(name, psnr, within, bits=144):
        return {"name": name, "psnr": psnr, "within": within, "bits": bits}

    rows = [row("a", 20.0, 2), row("a", 21.5, 1), row("JPEG", 18.0, 0, 216), row("JPEG", 19.0, 2)]
    result = {"bits": [153, 307], "images": ["1", "2"], "sides": {"32": rows}}
    head, _, *lines = pages.few_bits(result)
    assert head == "| | 153 bits | 307 |"
    assert lines == [
        "| 32×32, a | 20.00 | 21.50 (1 of 2) |",
        "| 32×32, JPEG | 18.00 (216) | 19.00 |",
    ]


def test_results_of_several_models_must_all_be_of_shipped_weights(tmp_path):
    shipped = {name: weights_info(name).fingerprint.hex() for name in ("ssvae", "convdraw")}
    path = tmp_path / "few.json"
    path.write_text(json.dumps({"weights": shipped}))
    assert read("few.json", tmp_path)["weights"] == shipped
    path.write_text(json.dumps({"weights": shipped | {"convdraw": "00000000"}}))
    with pytest.raises(PageError, match="weights 00000000 of convdraw"):
        read("few.json", tmp_path)
