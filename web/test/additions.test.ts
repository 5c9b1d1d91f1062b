/** What later versions of the encoder write: quarter steps of quality, lossless graphics. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { parseHeader } from "../src/container";
import { crc32 } from "../src/crc32";
import { Machine } from "../src/machine";
import { Networks } from "../src/networks";
import type { Weights } from "../src/weights";
import { coded, decode, fileOf, joined, uint32 } from "./files";

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
  (_, i) => (channels === 4 && i % 4 === 3 ? [255, 255, 0, 254][(i >> 2) % 4] : (i * 101) % 256));
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

test("at smaller scales they are averaged, weighted by their mask", async () => {
  const data = noise(4);
  for (const scale of [2, 4] as const) {
    const { picture } = await decode(withGraphics(png(WIDTH, HEIGHT, 4, data)), { scale });
    const plain = (await decode(FILE, { scale })).picture;
    for (const [row, column] of [[0, 0], [3, 5], [9, 11]]) {
      for (let c = 0; c < 3; c++) {
        let sum = 0, weight = 0;
        const stepX = WIDTH / picture.width, stepY = HEIGHT / picture.height;
        if (stepX !== scale || stepY !== scale) continue; // windows of unequal sizes
        for (let y = row * scale; y < (row + 1) * scale; y++) {
          for (let x = column * scale; x < (column + 1) * scale; x++) {
            const at = 4 * (y * WIDTH + x);
            if (data[at + 3] !== 255) continue;
            sum += data[at + c] / scale ** 2;
            weight += 1 / scale ** 2;
          }
        }
        const at = 4 * (row * picture.width + column) + c;
        assert.ok(Math.abs(picture.data[at] - (sum + (1 - weight) * plain.data[at])) <= 1);
      }
    }
  }
});

test("they are used for the whole picture alone, and damaged ones are left out", async () => {
  const graphics = withGraphics(png(WIDTH, HEIGHT, 3, noise(3)));
  for (const layers of [1, 2]) {
    const [found, plain] = await Promise.all([decode(graphics, { layers }), decode(FILE, { layers })]);
    assert.deepEqual(found.picture, plain.picture);
  }
  const plain = await decode(FILE);
  for (const payload of [png(WIDTH - 1, HEIGHT, 3, noise(3)), Uint8Array.of(1, 2, 3)]) {
    const found = await decode(withGraphics(payload));
    assert.deepEqual(found.picture, plain.picture);
    assert.match(found.notes[0], /the picture's graphics are left out/);
    assert.ok(found.damaged);
  }
});
