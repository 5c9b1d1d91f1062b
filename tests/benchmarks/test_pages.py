"""Pages say what was measured, with the weights that are shipped."""

import json

import pytest

from benchmarks import page_tables, pages
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


def test_rates_have_a_column_for_each_anchor_and_a_row_for_each_metric_and_band():
    def result(**anchors):
        bands = {name: {"low": {"percent": v}, "high": None} for name, v in anchors.items()}
        own = {name: {"overall": [v - 1, 3]} for name, v in anchors.items()}
        return {"bd_rate_percent": anchors, "bands": bands, "bands_of_images": own}

    eye = result(jpeg=-50.0) | {
        "bd_rate_ssimulacra2_percent": {"jpeg": -60.04, "avif-iq-4": 2.0},
        "bands_ssimulacra2": {"jpeg": {"high": {"percent": 7.0}}, "avif-iq-4": {"high": None}},
        "bands_of_images_ssimulacra2": {"jpeg": {"overall": [-61.0, 3], "high": [6.0, 2]}},
    }
    sets = {"photographs": result(jpeg=-40.0, jxl=-10.0), "large": result(jpeg=-30.0)}
    head, _, *lines = page_tables.rates(sets, {"photographs": eye})
    assert head.split(" | ")[1:] == ["JPEG", "AVIF, tune=iq, speed 4", "JPEG XL |"]
    assert lines == [
        "| **SSIMULACRA2** | **−60.0%** | **+2.0%** | – |",
        "| … high | +7.0% | – | – |",
        "| **PSNR** | **−40.0%** | – | **−10.0%** |",
        "| … low | −40.0% | – | −10.0% |",
        "| **large: PSNR** | **−30.0%** | – | – |",
        "| … low | −30.0% | – | – |",
    ]
    head, _, *lines = page_tables.brief_rates(sets, {"photographs": eye})
    heads = ["SSIMULACRA2<br>high", "PSNR<br>low / high", "large: PSNR<br>low / high |"]
    assert head.split(" | ")[1:] == heads
    assert lines == [
        "| JPEG | **−60.0%**<br>+7.0 | **−40.0%**<br>−40.0 / – | **−30.0%**<br>−30.0 / – |",
        "| AVIF, tune=iq, speed 4 | **+2.0%**<br>– | – | – |",
        "| JPEG XL | – | **−10.0%**<br>−10.0 / – | – |",
    ]
    _, _, *lines = page_tables.rates_of_images(sets, {"photographs": eye})
    assert lines == [
        "| SSIMULACRA2 | −61.0% | – |",
        "| PSNR | −41.0% | −11.0% |",
        "| large: PSNR | −31.0% | – |",
    ]


def test_efforts_have_a_line_each_with_the_bands_of_jpeg_2000():
    def result(effort, rate):
        bands = {"jpeg2000": {"low": {"percent": rate - 1}, "high": None}}
        rates = {"jpeg2000": rate, "avif-psnr": rate + 10}
        return {"effort": effort, "bd_rate_percent": rates, "bands": bands}

    head, _, *lines = page_tables.efforts_by_error([result(1, -20.0), result(9, -30.0)])
    assert (
        head
        == "| effort, against | JPEG 2000 | AVIF, tune=psnr | JPEG 2000, low | JPEG 2000, high |"
    )
    assert lines == ["| 1 | −20.0% | −10.0% | −21.0% | – |", "| 9 | −30.0% | −20.0% | −31.0% | – |"]


def test_times_of_several_models_stand_below_those_of_other_codecs():
    def result(model, seconds):
        row = {"setting": "quality 50", "bpp": 0.271, "runs": 5, "decode_seconds": seconds / 2}
        peers = [row | {"codec": c, "encode_seconds": seconds} for c in (model, "jxl")]
        size = {"size": "774×516", "threads": 2, "megapixels": 0.4, "peak_memory_mb": 400}
        sizes = [size | {"encode_seconds": seconds, "decode_seconds": seconds / 2}]
        made = {"model": model, "weights": "0a", "machine": "a machine"}
        return made | {"peers": peers, "sizes": sizes}

    results = [result("ssvae", 0.2), result("convdraw", 0.6)]
    assert page_tables.speed(results)[2:] == [
        "| `ssvae` | quality 50 | 0.27 | 0.200 | 0.100 |",
        "| JPEG XL | quality 50 | 0.27 | 0.200 | 0.100 |",
        "| `convdraw` | quality 50 | 0.27 | 0.600 | 0.300 |",
    ]
    assert page_tables.speed_of_sizes(results[0])[2:] == ["| 774×516, 2 | 0.50 | 0.25 | 400 MB |"]
    assert page_tables.timed(results) == (
        "Medians of 5 runs that take turns, weights `0a` of `ssvae`, `0a` of `convdraw`, a machine."
    )


def test_small_pictures_say_where_not_all_fit():
    def row(name, psnr, within, bits=144):
        return {"name": name, "psnr": psnr, "within": within, "bits": bits}

    rows = [row("a", 20.0, 2), row("a", 21.5, 1), row("JPEG", 18.0, 0, 216), row("JPEG", 19.0, 2)]
    result = {"bits": [153, 307], "images": ["1", "2"], "sides": {"32": rows}}
    head, _, *lines = page_tables.few_bits(result)
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
