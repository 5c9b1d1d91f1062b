"""``codec web``: what a site consists of."""

import html
import os
import re
import shutil
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from bitstream.container import HEADER_BYTES, Header
from cli.gallery import site as site_of
from cli.main import app
from cli.web import EXAMPLES
from tests.web.node import WEB

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, ["web", *map(str, arguments)])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, photograph):
    """A folder with an image, one of an awkward name, and a coded file."""
    folder = tmp_path_factory.mktemp("pictures") / "Summer & sea"
    folder.mkdir()
    Image.fromarray(photograph[:96, :128]).save(folder / "one.png")
    Image.fromarray(photograph[100:180, :70]).save(folder / 'a "b" <c>.png')
    (folder / "coded.cci").write_bytes(codec.encode(photograph[200:264, :64], quality=30))
    return folder


@pytest.fixture(scope="module")
def site(pictures):
    folder = pictures.parent / "site"
    result = run(pictures, "-o", folder, "--quality", 40)
    assert result.exit_code == 0, result.output
    return folder


def test_the_site_holds_pictures_decoder_and_weights(site, pictures):
    names = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    parts = {name for name in names if re.fullmatch(r"cci/weights/[0-9a-f]{8}-(u|rest)\.bin", name)}
    assert len(parts) == 2
    program = {"cci.js", "cci-worker.js", "gallery.js", "gallery.css", "icon.svg"}
    assert names - parts == {"index.html"} | {f"cci/{name}" for name in program} | {
        f"pictures/{name}.cci" for name in ("one", "coded", 'a "b" <c>')
    }
    assert (site / "pictures/coded.cci").read_bytes() == (pictures / "coded.cci").read_bytes()
    assert codec.info(site / "pictures/one.cci").quality == 40
    assert np.array(codec.decode(site / "pictures/one.cci")).shape == (96, 128, 3)


def test_the_page_names_every_picture_and_loads_nothing_from_elsewhere(site):
    page = (site / "index.html").read_text("utf-8")
    assert "<title>Summer &amp; sea</title>" in page
    assert 'src="pictures/a%20%22b%22%20%3Cc%3E.cci" alt="a &quot;b&quot; &lt;c&gt;"' in page
    assert 'width="128" height="96"' in page
    assert "3 pictures" in page
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page)
    program = "".join(path.read_text("utf-8") for path in site.rglob("*.*s"))
    assert not re.findall(r"https?://", html.unescape(page).replace("http://localhost:8000", ""))
    assert not re.findall(r"https?://", program)


def test_a_site_is_written_anew_but_not_beside_other_files(site, pictures, tmp_path):
    assert run(pictures / "coded.cci", "-o", site, "--title", "Again").exit_code == 0
    assert "1 picture," in (site / "index.html").read_text("utf-8")
    (tmp_path / "letter.txt").write_text("mine")
    refused = run(pictures, "-o", tmp_path)
    assert refused.exit_code == 1
    assert not (tmp_path / "index.html").exists()


def test_what_cannot_be_shown_is_said(tmp_path, photograph):
    (tmp_path / "draw.cci").write_bytes(codec.encode(photograph[:64, :64], model="convdraw"))
    result = run(tmp_path / "draw.cci", "-o", tmp_path / "site")
    assert result.exit_code == 1
    assert "draw.cci: cannot be shown in a browser: convdraw" in result.stderr
    photo = tmp_path / "photo.png"
    Image.fromarray(photograph[:64, :64]).save(photo)
    result = run(photo, "-o", tmp_path / "site", "--model", "convdraw")
    assert result.exit_code == 2
    assert not (tmp_path / "site").exists()
    assert run(tmp_path / "nothing", "-o", tmp_path / "site").exit_code != 0


def test_one_bad_file_costs_itself_alone(pictures, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(pictures, folder / "sub" / "deeper")
    shutil.copytree(pictures, folder / "other")
    whole = (pictures / "coded.cci").read_bytes()
    (folder / "cut.cci").write_bytes(whole[:20])
    (folder / "old.cci").write_bytes(other_weights(whole))
    result = run(folder, "-o", tmp_path / "site", "--recursive")
    assert result.exit_code == 1
    assert "cut.cci: the file ends inside its header" in result.stderr
    assert "old.cci: the file was written with weights 00000000" in result.stderr
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "6 pictures" in page
    shown = {unquote(html.unescape(name)) for name in re.findall(r'<a href="([^"]*)"', page)}
    assert len(shown) == 6
    assert all((tmp_path / "site" / name).exists() for name in shown)
    assert len(set(re.findall(r'data-name="([^"]*)"', page))) == 6
    missing = run(pictures / "one.png", tmp_path / "gone.cci", "-o", tmp_path / "second")
    assert missing.exit_code == 1
    assert "gone.cci: cannot be read (No such file or directory)" in missing.stderr
    assert (tmp_path / "second" / "index.html").exists()


def other_weights(data):
    header = replace(Header.from_bytes(data), fingerprint=bytes(4))
    return header.to_bytes() + data[HEADER_BYTES:]


def test_a_name_that_no_address_can_have_costs_itself_alone(pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(pictures / "one.png", folder / "one.png")
    try:
        shutil.copy(pictures / "one.png", os.fsencode(folder) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    result = run(folder, "-o", tmp_path / "site")
    assert result.exit_code == 1
    assert "rename it" in result.stderr
    assert [path.name for path in (tmp_path / "site/pictures").iterdir()] == ["one.cci"]
    assert "one.cci" in (tmp_path / "site/index.html").read_text("utf-8")


def test_a_picture_too_large_for_the_sites_decoder_is_said(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(site_of, "MAX_PIXELS", 2**13)
    result = run(pictures, "-o", tmp_path / "site")
    assert result.exit_code == 1
    assert "--max-side reduces a picture" in result.stderr
    assert [path.name for path in (tmp_path / "site/pictures").iterdir()] == ["coded.cci"]


def test_the_limit_is_that_of_the_decoder():
    source = (WEB / "src" / "decoder.ts").read_text("utf-8")
    assert "MAX_PIXELS = 2 ** 26" in source
    assert site_of.MAX_PIXELS == 2**26


def test_the_help_ends_with_examples(tmp_path):
    shown = run("--help").output
    for line in re.findall(r"codec web .*?-o site/", EXAMPLES):
        assert line in shown
