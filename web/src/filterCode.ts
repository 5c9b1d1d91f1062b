/** The fitted filters' coefficients (docs/format.md, section 4): the payload of chunk `f`. */

import { CorruptError } from "./errors";

/** Coefficients of luma and of the two chroma planes. */
const COUNTS = [18, 14, 14];
const UNIT = 256;
const LIMIT = 255;
/** No filter takes more bytes: the least suitable codes of the largest coefficients. */
const MAX_BYTES = 1 + Math.floor((18 + 92 * (2 * LIMIT + 1) + 7) / 8);

/** Coefficients of three planes, numbers within ±1; a plane that stays as it is has none. */
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
  const planes = [...COUNTS, ...COUNTS].map((count, plane) => {
    if (!((payload[0] >> plane) & 1)) return [];
    const k = bits.take(3);
    return Array.from({ length: count }, () => coefficient(bits, k));
  });
  bits.finish();
  return { last: planes.slice(0, 3), before: planes.slice(3) };
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
