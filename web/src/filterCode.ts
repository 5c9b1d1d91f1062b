/** The fitted filters' coefficients (docs/format.md, section 4): the payload of chunk `f`. */

import { CorruptError } from "./errors";

/** Coefficients of the differences of luma and of the two chroma planes. */
const DIFFERENCES = [18, 14, 14];
/** Coefficients of the tones of any plane. */
export const TONES = 16;
const UNIT = 256;
const LIMIT = 255;
/** No filter takes more bytes: the least suitable codes of the largest coefficients. */
const MAX_BYTES = 1 + Math.floor((48 + 188 * (2 * LIMIT + 1) + 7) / 8);

/**
 * Coefficients of three planes, numbers within ±1: those of differences, then those of tones. A plane
 * that stays as it is has none.
 */
export type Planes = number[][];

/**
 * Payload → coefficients of the picture's filter, and of the filter before its correction.
 *
 * @throws CorruptError: the payload is not what an encoder writes
 */
export function unpackFilter(payload: Uint8Array): { last: Planes; before: Planes } {
  if (payload.length < 2 || payload.length > MAX_BYTES || payload[0] < 1 || payload[0] > 63) {
    throw new CorruptError("its size or its planes are impossible");
  }
  const bits = new Bits(payload.subarray(1));
  const planes = [...DIFFERENCES, ...DIFFERENCES].map((count, index) => {
    if (!((payload[0] >> index) & 1)) return [];
    const plane = [...part(bits, count), ...part(bits, TONES)];
    if (!plane.some(Boolean)) throw new CorruptError("one of its planes has no coefficients");
    return plane;
  });
  bits.finish();
  return { last: planes.slice(0, 3), before: planes.slice(3) };
}

function part(bits: Bits, count: number): number[] {
  if (!bits.take(1)) return Array(count).fill(0);
  const k = bits.take(3);
  return Array.from({ length: count }, () => coefficient(bits, k));
}

function coefficient(bits: Bits, k: number): number {
  let ones = 0;
  while (bits.take(1)) ones++;
  const number = ones * 2 ** k + bits.take(k);
  const value = number & 1 ? -(number + 1) / 2 : number / 2;
  if (Math.abs(value) > LIMIT) throw new CorruptError(`its coefficient ${value} is out of range`);
  return value / UNIT;
}

/** Reads bits, high bit of each byte first. */
class Bits {
  private place = 0;

  constructor(private data: Uint8Array) {}

  take(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++, this.place++) {
      if (this.place >= 8 * this.data.length) {
        throw new CorruptError("it ends inside a coefficient");
      }
      value = 2 * value + ((this.data[this.place >> 3] >> (7 - (this.place & 7))) & 1);
    }
    return value;
  }

  /** Raises CorruptError unless nothing but the zeros of the last byte is left. */
  finish(): void {
    const left = 8 * this.data.length - this.place;
    if (left > 7 || this.take(left)) throw new CorruptError("bytes follow its coefficients");
  }
}
