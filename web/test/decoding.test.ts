/** The conformance corpus in the browser's decoder: the same symbols and pictures as in Python. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Frame } from "../src/decoder";
import { CorruptError, LimitError, UnsupportedFileError } from "../src/errors";
import { CORPUS, decode, engine, fileOf, layersOf, pieces, shownInPython } from "./files";

const EXPECTED: Record<string, { symbols: string[]; mode: string; size: [number, number] }> =
  JSON.parse(readFileSync(new URL("expected.json", CORPUS), "utf8"));
const CONVDRAW = 2;
/** Models of the other family are refused. */
const NAMES = Object.keys(EXPECTED).filter((name) => fileOf(name)[5] !== CONVDRAW);

const hex = (crc: number) => crc.toString(16).padStart(8, "0");

for (const name of NAMES) {
  test(`${name} decodes to the same symbols, and pixels within 2 levels`, async () => {
    const result = await decode(fileOf(name)), expected = await shownInPython(name);
    assert.deepEqual(result.symbolChecksums.map(hex), EXPECTED[name].symbols);
    const { width, height, data } = result.picture;
    assert.deepEqual([width, height], EXPECTED[name].size);
    if (["graphics", "empty_layers"].includes(name)) { // WebP is unpacked by browsers alone
      assert.match(result.notes[0], /graphics left out/);
      return;
    }
    let largest = 0, sum = 0;
    data.forEach((value, i) => {
      const difference = Math.abs(value - expected[i]);
      largest = Math.max(largest, difference);
      sum += difference;
    });
    assert.ok(largest <= 2, `largest difference ${largest}`);
    assert.ok(sum / data.length < 0.1, `mean difference ${sum / data.length}`);
    assert.deepEqual(result.notes, []);
  });
}

test("bytes one by one give frames of growing size, then the same picture", async () => {
  const data = fileOf("middle"), frames: Frame[] = [];
  const result = await engine.decode(pieces(data, 1), {}, { frame: (one) => void frames.push(one) });
  assert.deepEqual(frames.map(({ scale, layers }) => [scale, layers]), [[4, 1], [2, 2], [1, 3]]);
  assert.deepEqual(frames.map(({ end }) => end), layersOf(data).map(({ end }) => end));
  assert.deepEqual(frames.map(({ picture: { width } }) => width), [50, 100, 200]);
  const whole = await decode(data);
  assert.deepEqual(result.picture.data, whole.picture.data);
});

test("fewer layers, asked for or cut, give the same picture", async () => {
  const data = fileOf("middle"), ends = layersOf(data).map(({ end }) => end);
  for (const layers of [1, 2] as const) {
    const asked = await decode(data, { layers }), cut = await decode(data.subarray(0, ends[layers - 1] + 3));
    assert.deepEqual(asked.picture.data, cut.picture.data);
    assert.deepEqual(cut.notes, [`the file is cut: ${layers} of its 3 layers are whole`]);
    assert.deepEqual([cut.layers, cut.damaged, cut.filtered], [layers, false, false]);
  }
});

test("a smaller scale is the frame of that layer", async () => {
  const data = fileOf("middle"), frames: Frame[] = [];
  await engine.decode(pieces(data), {}, { frame: (one) => void frames.push(one) });
  for (const [i, scale] of ([4, 2] as const).entries()) {
    const { picture } = await decode(data, { scale });
    assert.deepEqual(picture, frames[i].picture);
  }
});

test("damage behind the first layer leaves the layers before, with a note", async () => {
  const data = fileOf("middle"), whole = layersOf(data);
  for (const lost of [1, 2]) {
    const broken = data.slice();
    broken[whole[lost].end - 5] ^= 255;
    const found = await decode(broken);
    assert.deepEqual([found.layers, found.damaged], [lost, true]);
    assert.match(found.notes[0], new RegExp(`damaged .*; ${lost} of 3 layers are used`));
    const expected = await decode(data, { layers: lost });
    assert.deepEqual(found.picture.data, expected.picture.data);
  }
  const first = data.slice();
  first[whole[0].end - 2] ^= 1;
  await assert.rejects(decode(first), CorruptError);
});

test("what cannot be decoded is refused in words", async () => {
  await assert.rejects(decode(fileOf("convdraw_low")), UnsupportedFileError);
  await assert.rejects(decode(fileOf("middle"), { maxPixels: 1000 }), LimitError);
  await assert.rejects(decode(new Uint8Array()), { name: "NotACodecFileError", message: "the file is empty" });
  await assert.rejects(decode(fileOf("middle").subarray(0, 30)), { name: "TruncatedError" });
  await assert.rejects(decode(fileOf("middle"), { layers: 4 }), { name: "ArgumentError" });
});

test("a job can be abandoned", async () => {
  const abort = new AbortController();
  const started = engine.decode(pieces(fileOf("middle")), {}, {
    frame: () => abort.abort(),
  }, abort.signal);
  await assert.rejects(started, { name: "AbortError" });
  assert.deepEqual((await decode(fileOf("one_pixel"))).picture.width, 1);
});
