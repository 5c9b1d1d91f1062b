"""The viewer's page in a real browser: Chromium, headless.

The browser is the one of the system (``CODEC_TEST_BROWSER`` names another); without one the tests
are skipped. Screenshots go to ``demo_output/viewer/``.
"""

import base64
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from tests.viewer import Viewer

BROWSER = (
    os.environ.get("CODEC_TEST_BROWSER")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
SHOTS = Path(__file__).parents[2] / "demo_output" / "viewer"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]
WAIT = 120_000  # milliseconds

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed; name one in CODEC_TEST_BROWSER"
)

PIXELS = """(id) => {
  const image = document.getElementById(id);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}"""
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const fire = (type) => document.body.dispatchEvent(
    new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  fire("dragenter");
  const marked = document.body.classList.contains("dragging");
  fire("drop");
  return marked;
}"""


#: Notes every frame that is named on the picture.
WATCH = """document.addEventListener("DOMContentLoaded", () => {
  const name = document.getElementById("left-name");
  window.seen = [];
  new MutationObserver(() => window.seen.push(name.textContent)).observe(name, { childList: true });
});"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph) -> Path:
    """A photograph of 192×128 with its original, and a smaller file without one."""
    folder = tmp_path_factory.mktemp("pictures")
    image = Image.fromarray(photograph).resize((192, 128), Image.Resampling.LANCZOS)
    image.save(folder / "pier.png")
    (folder / "pier.cci").write_bytes(codec.encode(image, quality=60))
    (folder / "sky.cci").write_bytes(codec.encode(image.crop((0, 0, 60, 40))))
    SHOTS.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def viewer(folder):
    with Viewer(folder) as running:
        yield running


@pytest.fixture
def open_page(browser, viewer):
    """Opens pages; afterwards none of them may have complained or asked elsewhere."""
    pages, complaints = [], []

    def opened(query="rate=0", **options):
        page = browser.new_page(viewport={"width": 1280, "height": 860}, **options)
        page.set_default_timeout(WAIT)
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: r.url.startswith((viewer.address, "blob:")) or complaints.append(r.url),
        )
        page.add_init_script(WATCH)
        page.goto(f"{viewer.address}?{query}")
        pages.append(page)
        return page

    opened.complaints = complaints
    yield opened
    for page in pages:
        page.close()
    assert not complaints


def finished(page) -> None:
    page.wait_for_selector('body[data-state="done"]')


def picture(page, name="shown") -> np.ndarray:
    data = base64.b64decode(page.evaluate(PIXELS, name).partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def act(page, action) -> None:
    """Do something that makes the page decode, and wait for it."""
    page.evaluate("document.body.dataset.state = 'asked'")
    action()
    finished(page)


def choose(page, group, value) -> None:
    page.locator(f'input[name="{group}"][value="{value}"]').check(force=True)


def test_it_streams_frames_that_sharpen_and_ends_with_the_decoded_pixels(open_page, folder):
    finished(open_page())  # the server is warm now: what follows is the line's pace
    page = open_page("rate=1000")
    page.wait_for_selector('body[data-frames="1"]')
    page.screenshot(path=SHOTS / "streaming.png")
    finished(page)
    assert page.evaluate("window.seen") == ["u, quarter size", "u + z1, half size", "u + z1 + z2"]
    expected = np.array(codec.decode(folder / "pier.cci"))
    assert np.array_equal(picture(page), expected)
    size = (folder / "pier.cci").stat().st_size
    assert page.text_content("#n-bytes") == f"{size / 1000:.1f} kB"
    assert page.text_content("#n-bpp") == f"{8 * size / (192 * 128):.3f}"
    assert page.text_content("#n-psnr").endswith("dB")
    assert page.get_attribute("#arrival", "aria-valuenow") == "100"
    assert "Complete" in page.text_content("#status")
    page.screenshot(path=SHOTS / "light.png")


def test_the_slider_and_the_fill_show_what_decode_shows(open_page, folder):
    page = open_page()
    finished(page)
    act(page, lambda: page.locator("#layers").fill("1"))
    expected = np.array(codec.decode(folder / "pier.cci", layers=1))
    assert np.array_equal(picture(page), expected)
    act(page, lambda: choose(page, "fill", "sample"))
    act(page, lambda: (page.fill("#seed", "7"), page.press("#seed", "Enter")))
    expected = np.array(codec.decode(folder / "pier.cci", layers=1, fill="sample", seed=7))
    assert np.array_equal(picture(page), expected)
    page.screenshot(path=SHOTS / "sample.png")
    act(page, lambda: choose(page, "fill", "mean"))
    act(page, lambda: page.locator("#layers").press("ArrowRight"))
    expected = np.array(codec.decode(folder / "pier.cci", layers=2))
    assert np.array_equal(picture(page), expected)
    assert page.get_attribute("#layers", "aria-valuetext") == "2 of 3: u + z1"


def test_a_comparison_stands_behind_a_divider_that_moves(open_page, folder):
    page = open_page(color_scheme="dark")
    finished(page)
    for value, name in (("original", "original"), ("jpeg2000", "JPEG 2000"), ("jpeg", "JPEG")):
        choose(page, "compare", value)
        page.locator(f"#right-name:text-is('{name}')").wait_for()
        if value == "original":
            with Image.open(folder / "pier.png") as original:
                assert np.array_equal(picture(page, "other"), np.array(original))
            assert page.text_content("#r-bytes") == "–"
    limit = float(page.text_content("#n-bytes").split()[0])
    assert 0.8 * limit < float(page.text_content("#r-bytes").split()[0]) <= limit
    assert page.text_content("#r-psnr").endswith("dB")
    page.screenshot(path=SHOTS / "dark.png")
    split = "getComputedStyle(document.getElementById('picture')).getPropertyValue('--split')"
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert 20 <= float(page.evaluate(split).strip("%")) <= 30
    page.locator("#divider").press("Home")
    assert page.evaluate(split) == "0%"
    act(page, lambda: page.locator("#layers").fill("1"))
    page.locator("#compare-hint", has_text="No JPEG").wait_for()
    choose(page, "compare", "")
    assert not page.is_visible("#divider")


def test_a_dropped_picture_is_encoded_and_shown(open_page, photograph):
    page = open_page()
    finished(page)
    image = Image.fromarray(photograph[150:350, 250:500])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    page.locator("#quality").fill("80")
    data = base64.b64encode(buffer.getvalue()).decode()
    page.evaluate("document.body.dataset.state = 'asked'")
    assert page.evaluate(DROP, ["piece.png", data])
    finished(page)
    assert "piece.png" in page.locator("#file option:checked").text_content()
    expected = np.array(codec.decode(codec.encode(image, quality=80)))
    assert np.array_equal(picture(page), expected)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "piece.cci"
    assert Path(download.value.path()).read_bytes() == codec.encode(image, quality=80)


def test_it_can_be_used_with_the_keyboard_alone(open_page):
    page = open_page()
    finished(page)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        around = "getComputedStyle(document.activeElement.parentElement).outlineStyle"
        beside = "getComputedStyle(document.activeElement.nextElementSibling ?? document.body)"
        styles = [page.evaluate(x) for x in (ring, around, f"{beside}.outlineStyle")]
        assert "solid" in styles, reached[-1]
    order = ["file", "upload", "rate", "play", "layers", "fill", "compare"]
    assert [name for name in reached if name in order] == order
    assert {"actual", "download", "aim", "quality", "tune"} <= set(reached)


def test_every_control_has_a_name_and_news_are_announced(open_page):
    page = open_page()
    finished(page)
    for role, name in (
        ("combobox", "File"),
        ("combobox", "Bandwidth"),
        ("button", "Play"),
        ("slider", "Layers"),
        ("combobox", "Aim of new pictures"),
        ("slider", "How much of it"),
        ("combobox", "Tuned for"),
        ("group", "Fill missing layers with"),
        ("group", "Compare with"),
        ("radio", "JPEG 2000"),
        ("progressbar", "Bytes received"),
        ("table", "Numbers"),
    ):
        assert page.get_by_role(role, name=name).count() == 1, name
    assert page.get_by_role("img", name="pier.cci from u + z1 + z2").count() == 1
    assert "Complete" in page.get_by_role("status").first.text_content()


def test_without_an_original_nothing_can_be_compared_and_it_says_why(open_page):
    page = open_page()
    finished(page)
    act(page, lambda: page.select_option("#file", "sky.cci"))
    assert page.locator('input[name="compare"]:disabled').count() == 3
    assert "original beside" in page.text_content("#compare-hint")
    assert page.text_content("#n-psnr") == "–"


def test_the_address_may_name_a_file(open_page):
    page = open_page("file=sky.cci&rate=0")
    finished(page)
    assert page.input_value("#file") == "sky.cci"
    assert picture(page).shape == (40, 60, 3)


def test_it_fits_a_narrow_screen_in_both_schemes(open_page):
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.set_viewport_size({"width": 400, "height": 1250})
        finished(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.screenshot(path=SHOTS / f"narrow-{scheme}.png")


def test_playing_again_over_a_slow_line_can_be_stopped(open_page):
    page = open_page()
    finished(page)
    page.select_option("#rate", "1000")
    page.wait_for_selector('body[data-state="streaming"]')
    page.click("#play")
    finished(page)
    assert page.text_content("#status") == "Stopped"
    assert page.text_content("#play") == "Play"


def test_an_error_is_shown_and_the_next_file_works(open_page, folder):
    page = open_page()
    finished(page)
    (folder / "broken.cci").write_bytes(b"\x8fCCI broken")
    try:
        page.evaluate("document.getElementById('file').append(new Option('broken.cci'))")
        with page.expect_response(lambda r: r.status == 422):
            page.select_option("#file", "broken.cci")
        page.wait_for_selector("#error:not([hidden])")
        assert "header" in page.text_content("#error")
    finally:
        (folder / "broken.cci").unlink()
    act(page, lambda: page.select_option("#file", "sky.cci"))
    assert not page.is_visible("#error")
    assert ["422" in line for line in open_page.complaints] == [True]
    open_page.complaints.clear()
