"""The viewer's page in a real browser: Chromium, headless.

The browser is the one of the system (``CODEC_TEST_BROWSER`` names another); without one the tests
are skipped. Screenshots go to ``demo_output/viewer/``.
"""

import base64
import io
import math
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
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
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
    assert page.text_content("#n-bytes") == in_words(size)
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


def in_words(size) -> str:
    return f"{size} B" if size < 1000 else f"{size / 1000:.1f} kB"


def coded_png(image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def drop(page, *files) -> bool:
    """Drop files (name, bytes) on the page; whether it showed that it would take them."""
    return page.evaluate(DROP, [(name, base64.b64encode(data).decode()) for name, data in files])


def test_a_dropped_picture_is_encoded_and_shown(open_page, photograph):
    page = open_page()
    finished(page)
    image = Image.fromarray(photograph[150:350, 250:500])
    page.locator("#quality").fill("80")
    page.evaluate("document.body.dataset.state = 'asked'")
    assert drop(page, ("piece.png", coded_png(image)))
    finished(page)
    assert page.locator("#file option:checked").text_content() == "piece.png (quality 80)"
    expected = np.array(codec.decode(codec.encode(image, quality=80)))
    assert np.array_equal(picture(page), expected)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "piece.cci"
    assert Path(download.value.path()).read_bytes() == codec.encode(image, quality=80)


def test_all_dropped_files_are_taken_and_a_bad_one_is_named(open_page, photograph):
    page = open_page()
    finished(page)
    first, second = (coded_png(Image.fromarray(photograph[y : y + 64, :96])) for y in (0, 200))
    page.evaluate("document.body.dataset.state = 'asked'")
    with page.expect_response(lambda r: r.status == 422):
        drop(page, ("bad.png", b"no picture"), ("first.png", first), ("second.png", second))
    page.locator("#taking", has_text="2 of 3 files taken").wait_for()
    finished(page)
    assert page.text_content("#refused") == "bad.png: is not an image Pillow can read"
    titles = page.locator("#file option").all_text_contents()
    assert titles[-2:] == ["first.png (quality 50)", "second.png (quality 50)"]
    assert "first.png" in page.locator("#file option:checked").text_content()
    assert ["422" in line for line in open_page.complaints] == [True]
    open_page.complaints.clear()


def test_a_bad_dropped_file_does_not_stop_what_is_shown(open_page):
    page = open_page("rate=1000&file=pier.cci")
    page.wait_for_selector('body[data-frames="1"]')
    drop(page, ("bad.png", b"no picture"))
    page.locator("#refused", has_text="bad.png").wait_for()
    assert page.get_attribute("body", "data-state") in ("streaming", "done")
    finished(page)
    assert "Complete" in page.text_content("#status")
    open_page.complaints.clear()  # the browser notes the refused request


def test_a_bad_dropped_file_does_not_stop_what_is_coded_anew(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    asked = []
    page.route("**/api/recode?*", lambda route: asked.append(route))  # as long as it is wanted
    page.locator("#quality").fill("20")
    page.wait_for_selector('body[data-state="busy"]')
    drop(page, ("bad.png", b"no picture"))
    page.locator("#refused", has_text="bad.png").wait_for()
    asked[0].continue_()
    page.locator("#status", has_text="Quality 20, encoded in").wait_for()
    finished(page)
    open_page.complaints.clear()  # the browser notes the refused request


def test_dropped_files_that_are_forgotten_leave_the_list(open_page, folder):
    """The server keeps 32, and what is shown among them."""
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    there = page.locator("#file option").count()
    sky = (folder / "sky.cci").read_bytes()
    page.evaluate("document.body.dataset.state = 'asked'")
    drop(page, *((f"{number}.cci", sky) for number in range(34)))
    page.locator("#taking", has_text="34 of 34 files taken; no room for").wait_for()
    finished(page)
    shown = page.locator("#file option:checked").text_content()
    assert shown.startswith("0.cci")
    names = page.locator("#file option").all_text_contents()
    assert len(names) <= there + 32
    assert page.locator("#strip .thumb").count() == len(names)
    assert not any(name.startswith("1.cci") for name in names)
    act(page, lambda: page.click("#play"))


def test_a_missing_fine_stage_is_not_said_to_be_filled(open_page, photograph, folder):
    """It corrects a picture; the layers before it are all there."""
    image = Image.fromarray(photograph[150:350, 250:500])
    (folder / "fine.cci").write_bytes(codec.encode(image, quality=80))
    try:
        page = open_page("rate=0&file=fine.cci")
        finished(page)
        assert page.get_attribute("#layers", "max") == "4"
        act(page, lambda: page.locator("#layers").fill("3"))
        assert "filled" not in page.text_content("#status")
        assert "Nothing to fill" in page.text_content("#fill-hint")
        act(page, lambda: page.locator("#layers").fill("2"))
        assert "the rest filled with the mean" in page.text_content("#status")
    finally:
        (folder / "fine.cci").unlink()


def test_a_picture_is_coded_anew_when_the_settings_change(open_page, folder):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    asked = []
    page.on("request", lambda r: "recode" in r.url and asked.append(r.url))
    act(page, lambda: [page.locator("#quality").fill(str(value)) for value in (25, 22, 20)])
    page.locator("#status", has_text="Quality 20, encoded in").wait_for()
    finished(page)
    assert len(asked) == 1  # of three changes at once, the last
    with Image.open(folder / "pier.png") as image:
        data = codec.encode(image, quality=20)
        drawn = codec.encode(image, quality=20, model="convdraw", tune="psnr")
    assert np.array_equal(picture(page), np.array(codec.decode(data)))
    assert page.text_content("#n-bytes") == in_words(len(data))
    assert page.text_content("#n-psnr").endswith("dB")
    page.locator("#n-seen", has_text=".").wait_for()
    assert page.locator("#file option:checked").text_content() == "pier.cci (quality 20)"
    page.evaluate("document.body.dataset.state = 'asked'")
    page.select_option("#model", "convdraw")
    page.locator("#left-name", has_text="u + z1 + z2").wait_for()
    finished(page)
    assert page.input_value("#tune") == "psnr"
    assert np.array_equal(picture(page), np.array(codec.decode(drawn)))
    assert page.get_attribute("#layers", "max") == "8"
    act(page, lambda: page.locator("#layers").fill("3"))
    assert page.text_content("#left-name") == "u + z1, stage 1 of 2"
    assert np.array_equal(picture(page), np.array(codec.decode(drawn, stages=3)))
    assert page.locator("#file option").count() == 3  # coded anew in its place
    assert page.locator(".thumb").all_text_contents()[-1] == "pier.cci (quality 20)"
    assert page.locator("#tune").is_disabled()
    act(page, lambda: page.select_option("#model", "ssvae"))
    assert page.input_value("#tune") == "eye"  # as before


def test_another_aim_begins_with_what_is_shown(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    page.locator("#n-seen", has_text=".").wait_for()
    asked = []
    page.on("request", lambda r: "recode" in r.url and asked.append(r.url))
    for aim, number in (("target_psnr", "#n-psnr"), ("target_ssimulacra2", "#n-seen")):
        page.select_option("#aim", aim)
        shown = float(page.text_content(number).split()[0])
        assert abs(float(page.input_value("#quality")) - shown) <= 0.5
    page.select_option("#aim", "quality")
    assert page.input_value("#quality") == "60"
    page.wait_for_timeout(800)
    assert not asked


def test_another_file_leaves_nothing_of_the_last_one(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    choose(page, "compare", "original")
    page.locator("#right-name:text-is('original')").wait_for()
    page.route("**/api/stream*", lambda route: None)  # its first layer never comes
    page.select_option("#file", "sky.cci")
    page.locator("#status", has_text="Waiting").wait_for()
    assert page.get_attribute("#shown", "src") is None
    assert page.get_attribute("#shown", "alt") == page.text_content("#left-name") == ""
    assert not page.is_visible("#other")
    assert {page.text_content(f"#n-{row}") for row in ("bytes", "bpp", "psnr", "seen")} == {"–"}
    assert not page.is_visible("#r-bytes")
    assert page.get_attribute("#arrival", "aria-valuenow") == "0"
    assert page.text_content("#bytes").startswith("0 B of")
    assert page.get_attribute("#save", "href") is None


def test_the_rate_is_automatic_until_one_is_chosen(open_page, folder):
    page = open_page("file=pier.cci")
    page.wait_for_selector('body[data-frames="1"]')
    assert page.input_value("#rate") == "auto"
    rate = math.floor((folder / "pier.cci").stat().st_size / 4 + 0.5)  # below 10 kB/s
    assert page.locator("#rate option:checked").text_content() == f"automatic ({in_words(rate)}/s)"
    page.select_option("#rate", "0")
    finished(page)
    act(page, lambda: page.select_option("#file", "sky.cci"))
    assert page.input_value("#rate") == "0"
    assert "/s)" in page.locator("#rate option").first.text_content()


WIDE = "getComputedStyle(document.getElementById('picture')).getPropertyValue('--wide')"


def test_it_zooms_and_moves_both_pictures(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    assert float(page.evaluate(WIDE).strip("px")) % 192 == 0  # whole pixels, as many as fit
    page.keyboard.press("1")
    assert page.evaluate(WIDE) == "192px"
    assert page.input_value("#zoom") == "1"
    steps = [("+", 384, "2"), ("+", 576, "fit"), ("+", 768, "4"), ("0", 576, "fit")]
    for key, width, zoom in steps:
        page.keyboard.press(key)
        assert (page.evaluate(WIDE), page.input_value("#zoom")) == (f"{width}px", zoom)
    choose(page, "compare", "original")
    page.locator("#right-name:text-is('original')").wait_for()
    page.select_option("#zoom", "16")
    box = page.locator("#picture").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.locator("#shown").bounding_box()
    page.mouse.move(middle[0] - 200, middle[1])  # far from the divider
    page.mouse.down()
    page.mouse.move(middle[0] - 260, middle[1] - 30, steps=3)
    page.mouse.up()
    after = page.locator("#shown").bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (-60, -30)
    assert page.locator("#other").bounding_box() == after
    page.focus("#picture")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#shown").bounding_box()["x"] == after["x"] + 64
    page.mouse.move(*middle)
    page.mouse.wheel(0, -200)
    page.locator("#zoom option:checked", has_text="%").wait_for(state="attached")
    assert float(page.evaluate(WIDE).strip("px")) > 16 * 192
    rendering = "getComputedStyle(document.getElementById('shown')).imageRendering"
    assert page.evaluate(rendering) == "pixelated"
    page.screenshot(path=SHOTS / "zoomed.png")


def test_two_fingers_zoom(open_page):
    page = open_page("rate=0&file=pier.cci", has_touch=True)
    finished(page)
    page.keyboard.press("1")
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *places):
        points = [{"x": px, "y": y, "id": i} for i, px in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", x - 40)
    fingers("touchStart", x - 40, x + 40)
    for apart in (60, 80, 120):
        fingers("touchMove", x - apart, x + apart)
    fingers("touchEnd")
    page.locator("#zoom option:checked", has_text="300%").wait_for(state="attached")


def test_holding_a_key_or_a_button_shows_the_other_picture_alone(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    assert page.is_disabled("#flick")
    choose(page, "compare", "original")
    page.locator("#right-name:text-is('original')").wait_for()
    clip = "getComputedStyle(document.querySelector('.pane.other')).clipPath"
    split = page.evaluate(clip)
    assert split != "none"
    page.keyboard.down("f")
    assert page.evaluate(clip) == "none"
    page.keyboard.up("f")
    assert page.evaluate(clip) == split
    page.hover("#flick")
    page.mouse.down()
    assert page.evaluate(clip) == "none"
    page.mouse.up()
    assert page.evaluate(clip) == split


def test_files_have_small_pictures_and_keys_go_from_one_to_the_next(open_page):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    page.locator(".thumb img[src]").nth(1).wait_for()
    assert page.locator(".thumb[aria-current='true']").get_attribute("data-file") == "pier.cci"
    act(page, lambda: page.keyboard.press("n"))
    assert page.input_value("#file") == "sky.cci"
    act(page, lambda: page.keyboard.press("p"))
    assert page.input_value("#file") == "pier.cci"
    act(page, lambda: page.get_by_role("navigation").get_by_role("button", name="sky.cci").click())
    assert page.input_value("#file") == "sky.cci"
    page.keyboard.press("?")
    assert "next file" in page.text_content("#keys:visible")
    page.keyboard.press("?")
    assert not page.is_visible("#keys")


def test_what_is_shown_can_be_saved(open_page, folder):
    page = open_page("rate=0&file=pier.cci")
    finished(page)
    act(page, lambda: choose(page, "fill", "sample") or page.locator("#layers").fill("1"))
    act(page, lambda: page.locator("#temperature").fill("1"))
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "pier-u.png"
    with Image.open(download.value.path()) as image:
        saved = np.array(image)
    sample = codec.decode(folder / "pier.cci", layers=1, fill="sample", seed=1, temperature=1)
    assert np.array_equal(saved, np.array(sample))


def test_it_can_be_used_with_the_keyboard_alone(open_page):
    page = open_page()
    finished(page)
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        around = "getComputedStyle(document.activeElement.parentElement).outlineStyle"
        beside = "getComputedStyle(document.activeElement.nextElementSibling ?? document.body)"
        styles = [page.evaluate(x) for x in (ring, around, f"{beside}.outlineStyle")]
        assert "solid" in styles, reached[-1]
    order = ["file", "upload", "picture", "zoom", "help", "rate", "play", "layers", "compare"]
    assert [name for name in reached if name in order] == order
    assert {"download", "save", "aim", "quality", "tune", "model", "stored"} <= set(reached)


def test_every_control_has_a_name_and_news_are_announced(open_page):
    page = open_page()
    finished(page)
    for role, name in (
        ("combobox", "File"),
        ("combobox", "Bandwidth"),
        ("button", "Play"),
        ("slider", "Layers"),
        ("combobox", "Aim of the encoder"),
        ("slider", "How much of it"),
        ("combobox", "Tuned for"),
        ("combobox", "Model"),
        ("combobox", "Layers to store"),
        ("combobox", "Zoom"),
        ("button", "Zoom in"),
        ("button", "Zoom out"),
        ("button", "Hold to see the other picture alone"),
        ("button", "Keys"),
        ("link", "Save PNG"),
        ("navigation", "Files"),
        ("group", "Fill missing layers with"),
        ("group", "Compare with"),
        ("radio", "JPEG 2000"),
        ("radio", "AVIF"),
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
    assert page.locator('input[name="compare"]:disabled').count() == 5
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
        page.set_viewport_size({"width": 390, "height": 844})
        finished(page)
        choose(page, "fill", "sample")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=SHOTS / f"narrow-{scheme}.png")
        page.locator("#download").scroll_into_view_if_needed()
        box, button = (page.locator(name).bounding_box() for name in ("#picture", "#download"))
        assert 0 <= box["y"] < box["y"] + box["height"] < button["y"]  # both are in view
        page.screenshot(path=SHOTS / f"narrow-{scheme}-scrolled.png")


def test_on_a_phone_held_sideways_the_controls_have_the_room(open_page):
    page = open_page()
    page.set_viewport_size({"width": 844, "height": 390})
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 844
    assert page.locator("#picture").bounding_box()["height"] > 200
    page.screenshot(path=SHOTS / "sideways.png")
    page.locator("#download").scroll_into_view_if_needed()
    stage = page.locator(".stage").bounding_box()
    assert stage["y"] + stage["height"] <= page.locator("#download").bounding_box()["y"]
    assert stage["y"] < 0  # it went with the page


def test_playing_again_over_a_slow_line_can_be_stopped(open_page):
    page = open_page()
    finished(page)
    page.select_option("#rate", "1000")
    page.wait_for_selector('body[data-state="streaming"]')
    # What was playing gives way, and the button is that of what plays now.
    page.evaluate(
        """async () => {
          document.getElementById("rate").dispatchEvent(new Event("change"));
          await new Promise((done) => { setTimeout(done, 300); });
        }"""
    )
    assert page.text_content("#play") == "Stop"
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
        assert page.get_attribute("#shown", "src") is None
        assert page.text_content("#n-bytes") == "–"
        assert page.locator("#arrival > *").count() == 0
    finally:
        (folder / "broken.cci").unlink()
    act(page, lambda: page.select_option("#file", "sky.cci"))
    assert not page.is_visible("#error")
    assert ["422" in line for line in open_page.complaints] == [True]
    open_page.complaints.clear()


def test_it_opens_on_the_first_file_that_can_be_and_says_of_a_cut_one_that_it_is(
    browser, folder, tmp_path
):
    (tmp_path / "a.cci").write_bytes(b"\x8fCCI broken")
    data = (folder / "pier.cci").read_bytes()
    (tmp_path / "b.cci").write_bytes(data[: codec.info(data).layers[1].end + 5])
    with Viewer(tmp_path) as viewer:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{viewer.address}?rate=0")
        finished(page)
        assert page.input_value("#file") == "b.cci"
        assert page.text_content("#status").startswith("The file is cut; all of it shown after")
        page.close()
