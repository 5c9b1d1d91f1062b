"""Broken files on purpose: what transmission, bad disks and hostile hands make of a .cci file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from bitstream.container import HEADER_BYTES, LAYER, Chunk, Container, encode_length

#: Ways to break a file; those with a seal make the checksums of header or chunk right again.
KINDS = (
    "bits",
    "cut",
    "splice",
    "header, sealed",
    "length",
    "layer, sealed",
    "payload, sealed",
    "order",
    "repeat",
    "drop",
    "type, sealed",
    "tail",
)
#: Those that leave no way to a valid file with another picture. (Whoever rewrites the alpha plane
#: and its chunk's checksum has made a valid file; but symbols have checksums of their own.)
FAITHFUL = ("bits", "cut", "splice", "length", "tail", "layer, sealed")


def mutate(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """One broken version of a valid file."""
    if kind == "bits":
        out = bytearray(data)
        for place in rng.integers(0, len(out), rng.integers(1, 9)):
            out[place] ^= 1 << rng.integers(8)
        return bytes(out)
    if kind == "cut":
        return data[: rng.integers(len(data))]
    if kind == "splice":
        a, b = sorted(rng.integers(0, len(data) + 1, 2))
        return data[:a] + rng.bytes(int(rng.integers(0, 64))) + data[b:]
    if kind == "header, sealed":
        return _seal(_broken_header(data[:20], rng)) + data[HEADER_BYTES:]
    if kind == "tail":
        return data + rng.bytes(int(rng.integers(1, 200)))
    return data[:HEADER_BYTES] + _broken_chunks(data, kind, rng)


def _seal(header: bytes) -> bytes:
    return header + struct.pack("<I", zlib.crc32(header))


def _broken_header(header: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(header)
    # Any byte but those of width and height that would ask for an image of many megapixels: such
    # files are right, and take their time.
    places = [0, 4, 5, 6, 7, 8, 9, 10, 14, 18, 19]
    for place in rng.choice(places, rng.integers(1, 3)):
        out[place] = rng.integers(256)
    return bytes(out)


def _broken_chunks(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    chunks = Container.from_bytes(data).chunks
    layers = [i for i, chunk in enumerate(chunks) if chunk.type == LAYER]
    chosen = int(rng.choice(layers) if kind == "layer, sealed" else rng.integers(len(chunks)))
    if kind == "length":
        coded = [chunk.to_bytes() for chunk in chunks]
        lie = int(rng.choice([0, 1, 2**7, 2**14, 2**31, 2**35 - 1]))
        head = chunks[chosen].type + encode_length(lie)
        crc = zlib.crc32(chunks[chosen].payload, zlib.crc32(head))
        coded[chosen] = head + struct.pack("<I", crc) + chunks[chosen].payload
        return b"".join(coded)
    if kind in ("layer, sealed", "payload, sealed"):
        payload = bytearray(chunks[chosen].payload)
        if rng.random() < 0.2:
            # Without any payload a layer would be a valid one, of zeros.
            payload = payload[: rng.integers(len(payload) + 1)] or payload[:1]
        elif rng.random() < 0.2:
            payload = bytearray(rng.bytes(len(payload)))
        else:
            payload = payload or bytearray(1)  # an empty layer
            for place in rng.integers(0, len(payload), rng.integers(1, 5)):
                payload[place] = rng.integers(256)
        chunks[chosen] = Chunk(chunks[chosen].type, bytes(payload))
    elif kind == "order":
        chunks = [chunks[i] for i in rng.permutation(len(chunks))]
    elif kind == "repeat":
        chunks.insert(chosen, chunks[int(rng.integers(len(chunks)))])
    elif kind == "drop":
        del chunks[chosen]
    elif kind == "type, sealed":
        letter = bytes([rng.choice(list(b"LSiexafABZz"))])
        chunks[chosen] = Chunk(letter, chunks[chosen].payload)
    return b"".join(chunk.to_bytes() for chunk in chunks)
