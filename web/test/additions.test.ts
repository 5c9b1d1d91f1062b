/** What later versions of the encoder write: quarter steps of quality, lossless graphics. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { parseHeader } from "../src/container";
import { crc32 } from "../src/crc32";
import { Machine } from "../src/machine";
import { Networks } from "../src/networks";
import type { Weights } from "../src/weights";
import type { Options } from "../src/decoder";
import { readGraphics } from "../src/graphics";
import { coded, decode, engine, fileOf, joined, layersOf, pieces, uint32 } from "./files";

function header(quality: number, flags: number): Uint8Array {
  const head = fileOf("middle").slice(0, 20);
  head[18] = quality;
  head[19] = (head[19] & 15) | (flags << 4);
  return joined(head, uint32(crc32(head)));
}

test("flags 1 and 2 are quarter steps of quality", () => {
  for (const quarters of [0, 1, 2, 3]) {
    const found = parseHeader(header(50, 1 | (quarters << 1)), Infinity);
    assert.deepEqual([found.quality, found.grey], [50 + quarters / 4, true]);
  }
  assert.equal(parseHeader(header(100, 0), Infinity).quality, 100);
  assert.throws(() => parseHeader(header(100, 2), Infinity), { name: "FormatError" });
  assert.equal(parseHeader(header(50, 0), Infinity).graphics, false);
  assert.equal(parseHeader(header(50, 8), Infinity).graphics, true);
});

test("the exact curve at a fraction is the floor of whole numbers", () => {
  const values = Int16Array.from({ length: 11 * 8 }, (_, i) => ((i * 7919) % 2001) - 1000);
  const weights = { tensor: () => ({ shape: [11, 8], values }) } as unknown as Weights;
  const networks = new Networks(weights, null as unknown as Machine);
  for (let quarters = 0; quarters <= 400; quarters++) {
    const found = networks.firstContext(quarters / 4);
    for (let c = 0; c < 8; c++) {
      let sum = 0n;
      for (let k = 0; k < 11; k++) {
        const hat = 40 - Math.abs(quarters - 40 * k);
        if (hat > 0) sum += BigInt(hat) * BigInt(values[8 * k + c]);
      }
      const floor = sum / 40n - (sum % 40n < 0n ? 1n : 0n);
      assert.equal(found[c], Number(floor));
    }
  }
});

/** A PNG of 8 bits per sample, its rows without filters. */
function png(width: number, height: number, channels: 3 | 4, data: Uint8Array): Uint8Array {
  const part = (type: string, payload: Uint8Array) => {
    const body = joined(Uint8Array.from(type, (c) => c.charCodeAt(0)), payload);
    return joined(uint32(payload.length).reverse(), body, uint32(crc32(body)).reverse());
  };
  const rows = Array.from({ length: height }, (_, r) =>
    joined(Uint8Array.of(0), data.subarray(r * width * channels, (r + 1) * width * channels)));
  return joined(
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    part("IHDR", joined(
      uint32(width).reverse(), uint32(height).reverse(),
      Uint8Array.of(8, channels === 3 ? 2 : 6, 0, 0, 0),
    )),
    part("IDAT", deflateSync(joined(...rows))), part("IEND", new Uint8Array()),
  );
}

const FILE = fileOf("high"), [WIDTH, HEIGHT] = [90, 70];
const noise = (channels: 3 | 4) => new Uint8Array(WIDTH * HEIGHT * channels).map(
  (_, i) => (channels === 4 && i % 4 === 3 ? [255, 255, 0, 0][(i >> 2) % 4] : (i * 101) % 256));
const withGraphics = (payload: Uint8Array) => joined(FILE, coded("g", payload));

test("RGB graphics replace the picture", async () => {
  const data = noise(3), { picture, notes } = await decode(withGraphics(png(WIDTH, HEIGHT, 3, data)));
  picture.data.forEach((value, i) =>
    assert.equal(value, i % 4 === 3 ? 255 : data[3 * (i >> 2) + (i % 4)]));
  assert.deepEqual(notes, []);
});

test("RGBA graphics replace it where they are opaque", async () => {
  const data = noise(4), { picture } = await decode(withGraphics(png(WIDTH, HEIGHT, 4, data)));
  const plain = (await decode(FILE)).picture;
  picture.data.forEach((value, i) => {
    const opaque = data[i | 3] === 255;
    assert.equal(value, i % 4 === 3 ? 255 : opaque ? data[i] : plain.data[i]);
  });
});

test("at smaller scales they are averaged over squares, the decoded pixel outside the mask", async () => {
  const data = noise(4);
  for (const scale of [2, 4] as const) {
    const { picture } = await decode(withGraphics(png(WIDTH, HEIGHT, 4, data)), { scale });
    const plain = (await decode(FILE, { scale })).picture;
    assert.deepEqual([picture.width, picture.height], [Math.ceil(WIDTH / scale), Math.ceil(HEIGHT / scale)]);
    for (let row = 0; row < picture.height; row++) {
      for (let column = 0; column < picture.width; column++) {
        const at = 4 * (row * picture.width + column);
        for (let c = 0; c < 3; c++) {
          let sum = 0, n = 0; // section 3 of the format page; the last squares are smaller
          for (let y = row * scale; y < Math.min(HEIGHT, (row + 1) * scale); y++) {
            for (let x = column * scale; x < Math.min(WIDTH, (column + 1) * scale); x++, n++) {
              const from = 4 * (y * WIDTH + x);
              sum += data[from + 3] ? data[from + c] : plain.data[at + c];
            }
          }
          assert.equal(picture.data[at + c], Math.floor((2 * sum + n) / (2 * n)));
        }
      }
    }
  }
});

test("a reader that wants a smaller picture reads on to them, as far as no layers are left out", async () => {
  const flagged = FILE.slice(0, 24); // a file with graphics says so in its header
  flagged[19] |= 128;
  flagged.set(uint32(crc32(flagged.subarray(0, 20))), 20);
  const graphics = png(WIDTH, HEIGHT, 3, noise(3));
  const data = joined(flagged, FILE.subarray(24), coded("g", graphics));
  const read = (options: Options) =>
    engine.decode(pieces(data, 256), { ...options, sparing: true });
  for (const scale of [2, 4] as const) {
    const [found, whole] = await Promise.all([read({ scale }), decode(data, { scale })]);
    assert.equal(found.end, data.length);
    assert.deepEqual(found.picture.data, whole.picture.data);
    assert.notDeepEqual(found.picture.data, (await decode(FILE, { scale })).picture.data);
  }
  assert.ok((await read({ layers: 1, scale: 4 })).end < FILE.length);
});

test("they are used for the whole picture alone, and damaged ones are left out", async () => {
  const graphics = withGraphics(png(WIDTH, HEIGHT, 3, noise(3)));
  for (const layers of [1, 2]) {
    const [found, plain] = await Promise.all([decode(graphics, { layers }), decode(FILE, { layers })]);
    assert.deepEqual(found.picture, plain.picture);
  }
  const plain = await decode(FILE);
  const translucent = noise(4).map((value, i) => (i % 4 === 3 && !value ? 254 : value));
  const commented = png(WIDTH, HEIGHT, 3, noise(3));
  commented.set(Uint8Array.from("tEXt", (c) => c.charCodeAt(0)), commented.length - 8);
  for (const payload of [
    png(WIDTH - 1, HEIGHT, 3, noise(3)), Uint8Array.of(1, 2, 3), commented,
    png(WIDTH, HEIGHT, 4, translucent),
  ]) {
    const found = await decode(withGraphics(payload));
    assert.deepEqual(found.picture, plain.picture);
    assert.match(found.notes[0], /graphics left out/);
    assert.ok(found.damaged);
  }
});

test("they count behind the last layer alone", async () => {
  const at = layersOf(FILE)[1].end, graphics = coded("g", png(WIDTH, HEIGHT, 3, noise(3)));
  const found = await decode(joined(FILE.subarray(0, at), graphics, FILE.subarray(at)));
  assert.deepEqual(found.picture, (await decode(FILE)).picture);
});

const WEBP = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="; // one pixel, lossless

test("a WebP is one lossless chunk of the length that it says", async () => {
  const plain = new Uint8Array(Buffer.from(WEBP, "base64"));
  const pixel = { width: 1, height: 1, channels: 4, data: Uint8Array.of(9, 8, 7, 255) };
  const read = (data: Uint8Array, samples = pixel) => readGraphics(data, 1, 1, async () => samples);
  assert.equal((await read(plain)).data[0], 9);
  const changed = (place: number, value: number) => plain.map((byte, i) => (i === place ? value : byte));
  const lossy = plain.slice();
  lossy.set(Uint8Array.from("VP8X", (c) => c.charCodeAt(0)), 12);
  for (const data of [lossy, joined(plain, Uint8Array.of(0)), changed(4, 1), changed(20, 0)]) {
    await assert.rejects(read(data), /damaged \(the WebP/);
  }
  await assert.rejects(read(changed(21, 1)), /another size/);
  const seeThrough = { ...pixel, data: Uint8Array.of(0, 0, 0, 0) };
  const opaque = changed(24, plain[24] & ~16); // no alpha declared, yet there is some
  await assert.rejects(read(opaque, seeThrough), /half-transparent/);
});
