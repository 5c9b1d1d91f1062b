/** An engine that reads its weights from a folder, and the corpus of the repository. */

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { ContainerReader } from "../src/container";
import { crc32 } from "../src/crc32";
import type { Options } from "../src/decoder";
import { Engine } from "../src/engine";
import { decodePng } from "../src/png";

export const CORPUS = new URL("../../../tests/conformance/", import.meta.url);
/** Where `python -m models.export_web ssvae` wrote to. */
export const WEIGHTS = process.env.CCI_WEIGHTS
  ? new URL(`file://${process.env.CCI_WEIGHTS}/`) : new URL("../../weights/", import.meta.url);

export const engine = new Engine(async (name) => {
  try {
    return await readFile(new URL(name, WEIGHTS));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
});

/** Bytes in pieces, as a connection brings them. */
export async function* pieces(data: Uint8Array, size = 1 << 16) {
  for (let at = 0; at < data.length || !at; at += size) yield data.subarray(at, at + size);
}

export const decode = (data: Uint8Array, options: Options = {}, size = 1 << 16) =>
  engine.decode(pieces(data, size), options);

export const fileOf = (name: string) =>
  new Uint8Array(readFileSync(new URL(`${name}.cci`, CORPUS)));

/** The layers of a sound file. */
export function layersOf(data: Uint8Array) {
  const reader = new ContainerReader(Infinity);
  for (const _ of reader.push(data)) { /* parse it */ }
  return reader.layers;
}

/** What the Python decoder made of a file of the corpus, RGBA. */
export async function shownInPython(name: string): Promise<Uint8Array> {
  const png = readFileSync(new URL(`${name}.png`, CORPUS));
  const { channels, data, width, height } =
    await decodePng(png, png.readUInt32BE(16), png.readUInt32BE(20));
  return new Uint8Array(4 * width * height).map((_, i) => {
    const channel = i % 4, pixel = (i >> 2) * channels;
    if (channel === 3) return channels === 4 ? data[pixel + 3] : 255;
    return data[pixel + (channels < 3 ? 0 : channel)];
  });
}

/** Arrays one behind the other. */
export function joined(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Four bytes, little endian. */
export function uint32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** A chunk; `length` may be a lie. */
export function coded(type: string, payload: Uint8Array, length = payload.length): Uint8Array {
  const head = [type.charCodeAt(0)];
  let rest = length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest & 127) | 128);
  head.push(rest);
  const bytes = Uint8Array.from(head);
  return joined(bytes, uint32(crc32(payload, crc32(bytes))), payload);
}
