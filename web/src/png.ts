/** PNG images of 8 bits per sample: the alpha plane, and lossless graphics. Exact, without colours. */

import { crc32 } from "./crc32";
import { inflate } from "./inflate";

/** Samples, row by row; 1 (grey), 3 (RGB) or 4 (RGBA) channels. */
export interface Samples {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 6: 4 };

export const isPng = (data: Uint8Array) => SIGNATURE.every((byte, i) => data[i] === byte);

/**
 * Decode a PNG of one size.
 *
 * @throws Error: it is damaged, of another size, or of a kind that the encoder does not write
 */
export async function decodePng(data: Uint8Array, width: number, height: number): Promise<Samples> {
  if (!isPng(data)) throw new Error("it is no PNG image");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let channels = 0;
  const parts: Uint8Array[] = [];
  for (let at = 8, ended = false; !ended;) {
    if (at + 12 > data.length) throw new Error("it is cut");
    const size = view.getUint32(at), end = at + 8 + size;
    if (end + 4 > data.length) throw new Error("it is cut");
    if (crc32(data.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error("broken chunk");
    const type = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (type === "IHDR") channels = header(view, at + 8, size, width, height);
    if (type === "IDAT") parts.push(data.subarray(at + 8, end));
    ended = type === "IEND";
    at = end + 4;
  }
  if (!channels) throw new Error("it has no header");
  const packed = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  const line = width * channels;
  const filtered = await inflate(packed, (line + 1) * height + (1 << 16));
  if (filtered.length < (line + 1) * height) throw new Error("it is cut");
  return { width, height, channels, data: unfilter(filtered, height, line, channels) };
}

/** Channels of the image that the header declares. */
function header(view: DataView, at: number, size: number, width: number, height: number): number {
  if (size !== 13) throw new Error("its header is damaged");
  if (view.getUint32(at) !== width || view.getUint32(at + 4) !== height) {
    throw new Error("it has another size");
  }
  const channels = CHANNELS[view.getUint8(at + 9)];
  const plain = view.getUint8(at + 8) === 8 && !view.getUint8(at + 10) && !view.getUint8(at + 11);
  if (!channels || !plain || view.getUint8(at + 12)) throw new Error("it is of another kind");
  return channels;
}

/** Undo the filters of rows, each of which begins with the number of its own. */
function unfilter(from: Uint8Array, height: number, line: number, channels: number): Uint8Array {
  const out = new Uint8Array(height * line);
  for (let row = 0; row < height; row++) {
    const filter = from[row * (line + 1)], source = row * (line + 1) + 1, to = row * line;
    if (filter > 4) throw new Error("a row has an unknown filter");
    for (let i = 0; i < line; i++) {
      const left = i < channels ? 0 : out[to + i - channels];
      const up = row ? out[to + i - line] : 0;
      const corner = row && i >= channels ? out[to + i - line - channels] : 0;
      out[to + i] = from[source + i] + guess(filter, left, up, corner);
    }
  }
  return out;
}

function guess(filter: number, left: number, up: number, corner: number): number {
  switch (filter) {
    case 0: return 0;
    case 1: return left;
    case 2: return up;
    case 3: return (left + up) >> 1;
    default: return paeth(left, up, corner);
  }
}

function paeth(left: number, up: number, corner: number): number {
  const a = Math.abs(up - corner), b = Math.abs(left - corner), c = Math.abs(left + up - 2 * corner);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
