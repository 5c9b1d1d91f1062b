"""Options have one home: names, defaults and checks are the same whoever takes them."""

from dataclasses import replace

import pytest
import typer

import codec
from cli.batch import batch
from cli.main import decode, encode
from cli.options import DECODING, ENCODING, SAVING
from codec.errors import ArgumentError
from codec.options import (
    DecodeKeywords,
    DecodeOptions,
    EncodeKeywords,
    EncodeOptions,
    SaveOptions,
    names_of,
)


def flags_of(command) -> set[str]:
    """Names of a command's parameters."""
    app = typer.Typer()
    app.command()(command)
    return {parameter.name for parameter in typer.main.get_command(app).params}


def test_keywords_are_the_fields():
    assert set(EncodeKeywords.__annotations__) == set(names_of(EncodeOptions))
    assert set(DecodeKeywords.__annotations__) == set(names_of(DecodeOptions))


def test_commands_have_a_flag_for_every_option():
    encoding, decoding = set(names_of(EncodeOptions)), set(names_of(DecodeOptions))
    of_programs = {"progress", "target_bytes", "warn"}
    assert encoding - flags_of(encode) == {"progress", "target_bytes"}
    assert decoding - flags_of(decode) == {"progress", "warn"}
    assert (encoding | decoding) - flags_of(batch) == of_programs
    assert set(names_of(SaveOptions)) == set(SAVING)
    assert set(SAVING) <= flags_of(decode) & flags_of(batch)
    assert set(ENCODING) == encoding - of_programs
    assert set(DECODING) == decoding - of_programs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 4}, "layers must be 1, 2 or 3, not 4"),
        ({"quality": 101}, "quality must be a number between 0 and 100, not 101"),
        ({"quality": "5"}, "quality must be a number"),
        ({"quality": float("nan")}, "not nan"),
        ({"target_psnr": 0}, "target PSNR"),
        ({"target_ssimulacra2": 100}, "below 100"),
        ({"target_psnr": 30, "target_ssimulacra2": 70}, "only one of"),
        ({"tune": "ear"}, "tune must be eye or psnr"),
        ({"tune": "eye", "model": "convdraw"}, "no weights tuned for eye"),
        ({"effort": 0}, "effort must be a whole number between 1 and 9"),
        ({"target_bpp": -1.0}, "the target bpp must be positive"),
        ({"target_bytes": 0}, "the target size must be positive"),
        ({"quality": 5, "target_bytes": 9}, "only one of"),
        ({"target_size": "5 parsecs"}, "is not a size"),
        ({"max_side": 0}, "max_side must be a whole number"),
        ({"target_size": 1.5}, "is not a size"),
        ({"target_size": 5, "target_bytes": 5}, "only one of"),
    ],
)
def test_bad_encoder_options_are_refused_before_the_image_is_read(options, words):
    for take in (EncodeOptions, lambda **o: codec.encode("no such file", **o)):
        with pytest.raises(ArgumentError, match=words):
            take(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 0},
        {"stages": 0},
        {"fill": "dream"},
        {"scale": 3},
        {"region": "1,2,3"},
        {"region": (0, 0, 0, 5)},
        {"region": (-1, 0, 5, 5)},
        {"region": 7},
        {"seed": -1},
        {"temperature": 10.5},
    ],
)
def test_bad_decoder_options_are_refused_before_the_file_is_read(options):
    for take in (
        DecodeOptions,
        codec.ProgressiveDecoder,
        lambda **o: codec.decode("no such file", **o),
    ):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            take(**options)


@pytest.mark.parametrize(
    ("function", "wrong", "words"),
    [
        (codec.encode, "targetsize", "encode.. has no option 'targetsize'; did you mean 'target_"),
        (codec.encode_detailed, "layer", "encode_detailed.. .* did you mean 'layers'"),
        (codec.decode, "Scale", "decode.. .* did you mean 'scale'"),
        (codec.decode_detailed, "zzz", "decode_detailed.. has no option 'zzz'; it has layers, "),
        (codec.progressive, "sede", "ProgressiveDecoder.. .* did you mean 'seed'"),
    ],
)
def test_an_option_that_there_is_not_names_the_function_and_the_nearest(function, wrong, words):
    with pytest.raises(TypeError, match=words):
        function("no such file", **{wrong: 1})
    with pytest.raises(ArgumentError, match=words):
        function("no such file", **{wrong: 1})


@pytest.mark.parametrize(("size", "count"), [("20kB", 20_000), ("1KiB", 1024), (9000, 9000)])
def test_a_target_size_is_written_as_on_the_command_line(size, count):
    options = EncodeOptions(target_size=size)
    assert (options.target_bytes, options.size_limit(1)) == (count, count)
    assert replace(options, quality=None) == options == EncodeOptions(target_bytes=count)


def test_the_module_lists_what_it_loads_late():
    assert {"encode", "decode", "progressive", "info", "errors"} <= set(dir(codec))
