"""The gallery and ``<cci-image>`` in a real browser; screenshots go to ``demo_output/web/``."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from bitstream.container import Chunk
from cli.main import app
from tests.conformance.test_corpus import CORPUS
from tests.web.browser import BROWSER, FLAGS, serving
from tests.web.node import WEB

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed; name one in CODEC_TEST_BROWSER"
)

SHOTS = Path(__file__).parents[2] / "demo_output" / "web"
WAIT = 120_000  # milliseconds
COUNT = 24
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"

DECODE = """async ([file, options]) => {
  const { decode } = await import("./cci/cci.js");
  try {
    const found = await decode(file, { weights: "cci/weights", output: "data", ...options });
    const { width, height, data } = found.image;
    let text = "";
    for (let i = 0; i < data.length; i += 8192) {
      text += String.fromCharCode(...data.subarray(i, i + 8192));
    }
    return { width, height, pixels: btoa(text), checksums: found.symbolChecksums };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, photograph):
    """A gallery of many pictures: the photograph, pieces of it, and a file that is cut."""
    folder = tmp_path_factory.mktemp("gallery")
    pictures = folder / "pictures"
    pictures.mkdir()
    whole = codec.encode(photograph)
    (pictures / "00 photograph.cci").write_bytes(whole)
    (pictures / "01 cut.cci").write_bytes(whole[: codec.info(whole).layers[1].end + 9])
    piece = codec.encode(photograph[100:292, 200:456])
    for number in range(2, COUNT):
        (pictures / f"{number:02d} piece.cci").write_bytes(piece)
    result = CliRunner().invoke(app, ["web", str(pictures), "-o", str(folder / "site")])
    assert result.exit_code == 0, result.output
    (folder / "site/broken.cci").write_bytes(whole[:40])
    shutil.copy(CORPUS / "one_layer_alpha.cci", folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(site):
    with serving(site) as (address, paths):
        yield address, paths


@pytest.fixture
def page(browser, address):
    """An empty tab; what goes wrong in it fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.set_default_timeout(WAIT)
    yield page
    context.close()
    assert not wrong


@pytest.mark.parametrize("file", ["pictures/00%20photograph.cci", "one_layer_alpha.cci"])
def test_the_browser_shows_the_pixels_of_python(page, address, site, file):
    page.goto(address[0])
    found = page.evaluate(DECODE, [file, {}])
    expected = codec.decode_detailed(site / file.replace("%20", " "))
    shown = np.array(expected.image.convert("RGBA")).astype(int)
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(shown.shape)
    assert np.abs(pixels - shown).max() <= 2
    assert np.abs(pixels - shown).mean() < 0.1
    assert found["checksums"] == list(expected.symbol_checksums)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_webp_graphics_are_laid_over(page, address, site, mode):
    """Chunk g: RGB replaces the picture; RGBA where its alpha is 255."""
    data = (site / "pictures/05 piece.cci").read_bytes()
    plain = np.array(codec.decode(data))
    graphics = np.random.default_rng(0).integers(0, 256, (*plain.shape[:2], 4), dtype=np.uint8)
    graphics[..., 3] = np.where(graphics[..., 3] > 99, 255, 0)
    if mode == "RGB":
        graphics[..., 3] = 255
    coded = io.BytesIO()
    image = Image.fromarray(graphics[..., : len(mode)])
    image.save(coded, "WEBP", lossless=True, exact=True)
    (site / "graphics.cci").write_bytes(data + Chunk(b"g", coded.getvalue()).to_bytes())
    page.goto(address[0])
    found = page.evaluate(DECODE, [f"graphics.cci?{mode}", {}])
    shown = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    shown = shown.reshape(graphics.shape)[..., :3].astype(int)
    opaque = graphics[..., 3] == 255
    assert np.array_equal(shown[opaque], graphics[opaque][:, :3])
    assert np.abs(shown[~opaque] - plain[~opaque]).max(initial=0) <= 2


def test_errors_have_names_and_words(page, address):
    page.goto(address[0])
    found = page.evaluate(DECODE, ["broken.cci", {}])
    assert found["error"] == "TruncatedError"
    assert "before its first layer is complete" in found["message"]
    assert page.evaluate(DECODE, ["broken.cci", {"layers": 7}])["error"] == "ArgumentError"
    assert page.evaluate(DECODE, ["http://", {}])["error"] == "ArgumentError"
    nowhere = page.evaluate(DECODE, ["broken.cci", {"weights": "http://"}])
    assert nowhere["error"] == "ArgumentError"


def test_only_what_is_in_view_is_decoded(page, address):
    base, paths = address
    paths.clear()
    page.goto(base)
    page.wait_for_selector("a.loaded >> nth=7")
    page.wait_for_timeout(300)
    asked = {path for path in paths if path.startswith("/pictures/")}
    assert 8 <= len(asked) < COUNT
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector(f'a.loaded[data-name="{COUNT - 1:02d} piece"]')


def test_pictures_far_away_are_freed_and_hidden_ones_are_kept(page, address):
    def pixels() -> int:
        return page.evaluate(
            """() => [...document.querySelectorAll("cci-image")].reduce((sum, { shadowRoot }) => {
              const { width, height, hidden } = shadowRoot.querySelector("canvas");
              return sum + (hidden ? 0 : width * height);
            }, 0)"""
        )

    page.goto(address[0])
    page.wait_for_selector("a.loaded >> nth=7")
    page.wait_for_timeout(300)
    shown = pixels()
    assert shown > 0
    page.click(".grid a >> nth=3")
    page.wait_for_selector('#status:has-text("Complete")')
    assert pixels() >= shown  # behind the viewer; some may have been on their way
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    page.evaluate("() => { document.querySelector('.grid').style.marginTop = '20000px'; }")
    page.wait_for_function(
        """() => [...document.querySelectorAll("cci-image")].every(
          ({ shadowRoot }) => shadowRoot.querySelector("canvas").hidden)"""
    )
    page.evaluate("() => { document.querySelector('.grid').style.marginTop = ''; }")
    page.wait_for_function(
        """() => !document.querySelector("cci-image").shadowRoot.querySelector("canvas").hidden"""
    )
    # Hidden, and when it is shown again far away at once.
    page.evaluate(
        """async () => {
          const { style } = document.querySelector(".grid");
          style.display = "none";
          for (let i = 0; i < 5; i++) await new Promise(requestAnimationFrame);
          style.display = "";
          style.marginTop = "20000px";
        }"""
    )
    page.wait_for_function(
        """() => [...document.querySelectorAll("cci-image")].every(
          ({ shadowRoot }) => shadowRoot.querySelector("canvas").hidden)""",
        timeout=20_000,
    )


def test_pictures_sharpen_and_the_page_stays_awake(page, address):
    """Frames come coarse to fine; while they do, no task of the page takes long."""
    page.goto(address[0])
    page.wait_for_selector("a.loaded >> nth=3")
    found = page.evaluate(
        """async () => {
          const long = [];
          new PerformanceObserver((list) => long.push(...list.getEntries().map((e) => e.duration)))
            .observe({ entryTypes: ["longtask"] });
          const picture = document.createElement("cci-image"), frames = [];
          picture.setAttribute("weights", "cci/weights");
          picture.setAttribute("width", 768);
          picture.setAttribute("height", 512);
          document.body.append(picture);
          const before = picture.getBoundingClientRect();
          picture.addEventListener("frame", ({ detail }) => frames.push(detail.scale));
          const loaded = new Promise((resolve) => picture.addEventListener("load", resolve));
          picture.setAttribute("src", "pictures/00%20photograph.cci");
          await loaded;
          const after = picture.getBoundingClientRect();
          const box = [before, after].map(({ width, height }) => [width, height]);
          await new Promise((resolve) => setTimeout(resolve, 200));
          return { frames, box, long, layers: picture.decoded.layers };
        }"""
    )
    assert found["frames"] == [4, 2, 1]
    assert found["layers"] == 3
    assert found["box"] == [[768, 512], [768, 512]]
    assert max(found["long"], default=0) <= 200  # 50 where nothing else runs on the machine


def test_where_data_are_dear_only_the_first_layer_is_fetched(page, address):
    base, paths = address
    page.add_init_script(
        "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })"
    )
    paths.clear()
    page.goto(base)
    page.wait_for_selector("a.loaded >> nth=1")
    picture = page.locator("a.loaded cci-image").first
    assert picture.evaluate("(one) => [one.decoded.layers, one.decoded.scale]") == [1, 4]
    assert any(path.endswith("-u.bin") for path in paths)
    assert not any(path.endswith("-rest.bin") for path in paths)


def test_what_stands_inside_is_shown_where_there_is_no_picture(page, address):
    page.goto(address[0])
    found = page.evaluate(
        """async () => {
          document.body.insertAdjacentHTML("beforeend",
            '<cci-image id="bad" alt="x" weights="cci/weights"><em>none</em></cci-image>');
          const bad = document.getElementById("bad");
          const failed = new Promise((resolve) => bad.addEventListener("error", resolve));
          bad.setAttribute("src", "broken.cci");
          const { detail } = await failed;
          const shown = bad.querySelector("em").getBoundingClientRect().width > 0;
          return { name: detail.name, shown };
        }"""
    )
    assert found == {"name": "TruncatedError", "shown": True}


def test_a_picture_without_anything_inside_has_its_alternative_text(page, address):
    page.goto(address[0])
    page.evaluate(
        """() => document.body.insertAdjacentHTML("afterbegin",
          '<cci-image id="empty" alt="A pier" weights="cci/weights">\\n</cci-image>')"""
    )
    named = page.locator("#empty").get_by_role("img", name="A pier")
    assert named.count() == 1
    assert named.inner_text() == ""
    page.evaluate("() => document.getElementById('empty').setAttribute('src', 'broken.cci')")
    page.wait_for_selector("#empty >> text=A pier")
    page.evaluate("() => document.getElementById('empty').setAttribute('alt', 'A bridge')")
    page.wait_for_selector("#empty >> text=A bridge")
    page.evaluate("() => document.getElementById('empty').setAttribute('alt', 'A pier')")
    page.evaluate(
        """() => document.getElementById("empty").setAttribute("src", "pictures/05%20piece.cci")"""
    )
    page.wait_for_selector("#empty canvas")
    assert named.count() == 1
    assert named.inner_text() == ""


def test_weights_that_were_missing_are_asked_for_again(browser, site):
    """A browser may keep a "not found", and of weights the decoder takes what is kept."""
    weights, away = site / "cci/weights", site / "away"
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    with serving(site, "max-age=3600") as (base, _):
        weights.rename(away)
        try:
            page.goto(base)
            page.wait_for_selector("a.failed")
        finally:
            away.rename(weights)
        page.goto(base)
        page.wait_for_selector("a.loaded")
    context.close()


def test_a_click_opens_a_picture_with_its_layers(page, address):
    page.goto(address[0])
    page.click(".grid a")
    page.wait_for_selector('#status:has-text("Complete")')
    assert page.inner_text("#title") == "00 photograph"
    assert page.locator("#bar .layer").count() == 3
    page.focus("#layers")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector('#status:has-text("u + z1:")')
    assert page.evaluate("() => document.body.dataset.shown") == "2"
    page.focus("#close")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#status:has-text("2 of its 3 layers are whole")')
    assert page.inner_text("#title") == "01 cut"
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert page.evaluate("() => document.activeElement.dataset.name") == "01 cut"


def test_one_step_back_leads_to_the_grid_and_opens_nothing_again(page, address):
    page.goto(address[0])
    page.click(".grid a")
    for place in ("2", "3"):
        page.click("#next")
        page.wait_for_selector(f'#count:has-text("{place} of {COUNT}")')
    page.go_back()
    page.wait_for_selector("#viewer", state="hidden")
    page.click(".grid a")
    page.click("#next")
    page.wait_for_selector(f'#count:has-text("2 of {COUNT}")')
    page.click("#close")
    page.wait_for_selector("#viewer", state="hidden")
    page.go_back()
    page.wait_for_timeout(300)
    assert page.locator("#viewer").is_hidden()
    assert page.url == address[0]


def test_a_slow_connection_is_played(page, address):
    page.goto(f"{address[0]}#00%20photograph")
    page.wait_for_selector('#status:has-text("Complete")')
    page.select_option("#rate", "4000")
    page.wait_for_selector('#status:has-text("quarter size after")')
    page.wait_for_selector("#bar .layer.on >> nth=0")
    page.click("#play")
    page.wait_for_selector('#status:has-text("Stopped")')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "width", "height"),
    [("wide", 1400, 900), ("phone", 390, 844), ("sideways", 844, 390)],
)
def test_it_looks_as_it_should(browser, address, name, width, height, scheme):
    SHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address[0])
    page.wait_for_selector("a.loaded >> nth=1")
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / f"grid-{name}-{scheme}.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    problems = serious(page)
    page.click(".grid a")
    page.wait_for_selector('#status:has-text("Complete")')
    page.screenshot(path=SHOTS / f"picture-{name}-{scheme}.png")
    assert page.evaluate("() => document.getElementById('viewer').scrollWidth") <= width
    assert page.locator(".stage").bounding_box()["height"] >= 0.5 * height
    problems += serious(page)
    context.close()
    assert not problems, json.dumps(problems, indent=1)


def serious(page):
    """Serious findings of axe, where its package is there."""
    if not AXE.exists():
        return []
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], one["help"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_canvas_has_the_shape_of_its_picture(page, address, photograph, site):
    tall = site / "tall.cci"
    tall.write_bytes(codec.encode(np.ascontiguousarray(photograph[:192, :64])))
    page.goto(address[0])
    ratio = page.evaluate(
        """async () => {
          const picture = document.createElement("cci-image");
          picture.setAttribute("weights", "cci/weights");
          const loaded = new Promise((resolve) => picture.addEventListener("load", resolve));
          picture.setAttribute("src", "tall.cci");
          document.body.append(picture);
          await loaded;
          const canvas = picture.shadowRoot.querySelector("canvas");
          return canvas.width / canvas.height;
        }"""
    )
    assert ratio == pytest.approx(1 / 3)
