/** Broken files: a right picture, or an error that says why; no hang, nothing uncaught. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Chunk, ContainerReader, HEADER_BYTES } from "../src/container";
import { crc32 } from "../src/crc32";
import { CodecError } from "../src/errors";
import { coded, decode, engine, fileOf, joined, uint32 } from "./files";

const COUNT = Number(process.env.MUTATIONS ?? 2000);
const NAMES = ["middle", "high", "two_layers_grey", "one_layer_alpha", "one_pixel"];
const MAX_PIXELS = 2 ** 20;
/** A file may take so long; all of them together are given their time by the caller. */
const SECONDS = 60;
/** Bytes of the kernels' memory at the end: nothing is left behind. */
const MEMORY = 64 * 2 ** 20;

/** Numbers that are the same in every run (mulberry32). */
class Random {
  constructor(private state: number) {}

  /** A whole number below `limit`. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  bytes(count: number): Uint8Array {
    return new Uint8Array(count).map(() => this.below(256));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

type Breaking = (data: Uint8Array, random: Random) => Uint8Array;

function chunksOf(data: Uint8Array): Chunk[] {
  const reader = new ContainerReader(Infinity);
  for (const _ of reader.push(data)) { /* parse it */ }
  return reader.chunks;
}

const rebuilt = (data: Uint8Array, chunks: { type: string; payload: Uint8Array }[]) =>
  joined(data.subarray(0, HEADER_BYTES), ...chunks.map(({ type, payload }) => coded(type, payload)));

function brokenPayload(payload: Uint8Array, random: Random): Uint8Array {
  const kind = random.below(5), out = payload.slice();
  // Without any payload a layer would be a valid one, of zeros.
  if (kind === 0) return out.subarray(0, Math.max(1, random.below(out.length + 1)));
  if (kind === 1) return random.bytes(out.length);
  for (let i = 0; i < 1 + random.below(4) && out.length; i++) out[random.below(out.length)] = random.below(256);
  return out;
}

/** Kinds that leave no way to a valid file with another picture. */
const FAITHFUL: Record<string, Breaking> = {
  bits: (data, random) => {
    const out = data.slice();
    for (let i = 0; i < 1 + random.below(8); i++) out[random.below(out.length)] ^= 1 << random.below(8);
    return out;
  },
  cut: (data, random) => data.subarray(0, random.below(data.length)),
  splice: (data, random) => {
    const [a, b] = [random.below(data.length + 1), random.below(data.length + 1)].sort((x, y) => x - y);
    return joined(data.subarray(0, a), random.bytes(random.below(64)), data.subarray(b));
  },
  tail: (data, random) => joined(data, random.bytes(1 + random.below(200))),
  length: (data, random) => {
    const chunks = chunksOf(data), chosen = random.below(chunks.length);
    const lie = random.pick([0, 1, 2 ** 7, 2 ** 14, 2 ** 31, 2 ** 35 - 1]);
    return joined(data.subarray(0, HEADER_BYTES), ...chunks.map(
      ({ type, payload }, i) => coded(type, payload, i === chosen ? lie : payload.length),
    ));
  },
  "layer, sealed": (data, random) => {
    const chunks = chunksOf(data), chosen = random.pick(chunks.filter(({ type }) => type === "L"));
    return rebuilt(data, chunks.map((chunk) => (chunk === chosen
      ? { type: "L", payload: brokenPayload(chunk.payload, random) } : chunk)));
  },
};

/** Kinds that may give a valid file with another picture. */
const OTHERS: Record<string, Breaking> = {
  "header, sealed": (data, random) => {
    const head = data.slice(0, 20);
    for (let i = 0; i < 2; i++) head[random.pick([0, 4, 5, 6, 9, 10, 14, 18, 19])] = random.below(256);
    return joined(head, uint32(crc32(head)), data.subarray(HEADER_BYTES));
  },
  "payload, sealed": (data, random) => {
    const chunks = chunksOf(data), chosen = random.below(chunks.length);
    return rebuilt(data, chunks.map(({ type, payload }, i) => (
      { type, payload: i === chosen ? brokenPayload(payload, random) : payload })));
  },
  order: (data, random) => {
    const chunks = chunksOf(data);
    return rebuilt(data, chunks.map((chunk) => ({ chunk, key: random.below(1000) }))
      .sort((a, b) => a.key - b.key).map(({ chunk }) => chunk));
  },
  repeat: (data, random) => {
    const chunks = chunksOf(data);
    return rebuilt(data, chunks.toSpliced(random.below(chunks.length), 0, random.pick(chunks)));
  },
  drop: (data, random) => {
    const chunks = chunksOf(data);
    return rebuilt(data, chunks.toSpliced(random.below(chunks.length), 1));
  },
  "type, sealed": (data, random) => {
    const chunks = chunksOf(data), chosen = random.below(chunks.length);
    return rebuilt(data, chunks.map(({ type, payload }, i) => (
      { type: i === chosen ? random.pick([..."LSiexafgABZz"]) : type, payload })));
  },
};

const KINDS = Object.entries({ ...FAITHFUL, ...OTHERS });

const sources = NAMES.map(async (name) => {
  const data = fileOf(name), { layersDeclared } = await decode(data);
  const shown = await Promise.all(Array.from({ length: layersDeclared }, (_, i) =>
    decode(data, { layers: i + 1 }).then(({ picture }) => picture)));
  return { name, data, shown };
});

test(`${COUNT} broken files`, async () => {
  await Promise.all(sources);
  const results = new Map<string, number>(), used = await engine.used();
  let slowest = 0;
  for (let seed = 0; seed < COUNT; seed++) {
    const [kind, breaking] = KINDS[seed % KINDS.length];
    const { name, data, shown } = await sources[Math.floor(seed / KINDS.length) % NAMES.length];
    const broken = breaking(data, new Random(seed)), started = performance.now();
    let outcome: string;
    try {
      const { picture, layers, notes } = await decode(broken, { maxPixels: MAX_PIXELS });
      const right = shown.some(({ width, height, data: pixels }) => width === picture.width &&
        height === picture.height && pixels.every((value, i) => value === picture.data[i]));
      outcome = right ? `${layers} layers` : "another";
      assert.ok(right || !(kind in FAITHFUL), `seed ${seed}: ${kind} of ${name}: ${notes}`);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      assert.ok(error.message);
      outcome = error.name;
    }
    slowest = Math.max(slowest, (performance.now() - started) / 1000);
    results.set(`${kind}: ${outcome}`, (results.get(`${kind}: ${outcome}`) ?? 0) + 1);
  }
  for (const [result, count] of [...results].sort()) console.log(`${result} ${count}`);
  console.log(`slowest ${slowest.toFixed(2)} s`);
  assert.ok(slowest < SECONDS);
  assert.ok(await engine.memory() < MEMORY);
  assert.ok(await engine.used() <= used, "something is left behind");
});
