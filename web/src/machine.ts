/** The kernels' memory: who takes a piece of it gives it back. */

import { LimitError } from "./errors";

/** What `assembly/` exports; pointers are offsets in bytes. */
export interface Kernels {
  memory: WebAssembly.Memory;
  pointwise64(
    x: number, xStep: number, n: number, cin: number, w: number, bias: number, cout: number,
    out: number, outStep: number, mode: number,
  ): void;
  depthwise64(
    above: number, row: number, below: number, w: number, bias: number, out: number,
    width: number, channels: number,
  ): void;
  widen(from: number, to: number, n: number): void;
  narrow(from: number, to: number, n: number): void;
  addContext(x: number, context: number, phase: number, width: number, channels: number): void;
  predicted(
    from: number, n: number, channels: number, means: number, indices: number, plane: number,
    thresholds: number,
  ): void;
  settle(
    known: number, rows: number, rowStep: number, columns: number, columnStep: number,
    channels: number, means: number, symbols: number,
  ): void;
  beginLayer(words: number, bytes: number): void;
  decodeStep(
    n: number, indices: number, symbols: number, order: number, starts: number, tables: number,
    skip: number,
  ): number;
  pointwise32(
    x: number, n: number, cin: number, w: number, bias: number, cout: number, out: number,
    add: boolean,
  ): void;
  depthwise32(
    rows: number, k: number, w: number, bias: number, out: number, width: number, channels: number,
  ): void;
  gate(from: number, n: number, channels: number, to: number): void;
  affine(from: number, n: number, channels: number, scale: number, shift: number, to: number): void;
  shuffle(
    from: number, n: number, factor: number, run: number, to: number, toStep: number, add: boolean,
  ): void;
  planesOf(pixels: number, n: number, y: number, u: number, v: number, border: number): void;
  turns(plane: number, n: number, step: number, to: number): void;
  sums(plane: number, n: number, step: number, reach: number, to: number): void;
  products(a: number, b: number, n: number, to: number): void;
  steer(across: number, down: number, falling: number, rising: number, n: number): void;
  slopes(y: number, yy: number, p: number, yp: number, n: number): void;
  lumaChange(
    y: number, axis: number, tilt: number, active: number, n: number, line: number, c: number,
    to: number,
  ): void;
  chromaChange(
    own: number, other: number, y: number, axis: number, tilt: number, slope: number, n: number,
    line: number, c: number, to: number,
  ): void;
  addTones(y: number, u: number, v: number, n: number, c: number, to: number): void;
  applyChange(
    pixels: number, change: number, n: number, red: number, green: number, blue: number,
  ): void;
}

const PAGE = 1 << 16;
const ALIGN = 16;
/** The first bytes are left alone: no piece begins at 0. */
const START = 2048;

interface Piece {
  at: number;
  bytes: number;
}

export class Machine {
  private free: Piece[] = []; // by address, never two neighbours
  private taken = new Map<number, number>();

  constructor(readonly kernels: Kernels) {
    this.free.push({ at: START, bytes: kernels.memory.buffer.byteLength - START });
  }

  /** Bytes of the whole memory, used or not. It never shrinks. */
  get size(): number {
    return this.kernels.memory.buffer.byteLength;
  }

  /** Bytes that are taken. */
  get used(): number {
    return [...this.taken.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Room for so many bytes, not cleared. Raises LimitError where there is none. */
  take(bytes: number): number {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let piece = this.free.find((one) => one.bytes >= size);
    if (!piece) piece = this.grow(size);
    const { at } = piece;
    piece.at += size;
    piece.bytes -= size;
    if (!piece.bytes) this.free.splice(this.free.indexOf(piece), 1);
    this.taken.set(at, size);
    return at;
  }

  /** Room for so many bytes, all zero. */
  zeros(bytes: number): number {
    const at = this.take(bytes);
    this.u8(at, bytes).fill(0);
    return at;
  }

  give(at: number): void {
    const bytes = this.taken.get(at);
    if (bytes === undefined) throw new Error("a piece of memory is given back twice");
    this.taken.delete(at);
    let index = this.free.findIndex((piece) => piece.at > at);
    if (index < 0) index = this.free.length;
    this.free.splice(index, 0, { at, bytes });
    for (const i of [index, index - 1]) {
      const piece = this.free[i], next = this.free[i + 1];
      if (piece && next && piece.at + piece.bytes === next.at) {
        piece.bytes += next.bytes;
        this.free.splice(i + 1, 1);
      }
    }
  }

  // Views are good until memory is taken next.

  u8(at: number, count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer, at, count);
  }

  i16(at: number, count: number): Int16Array {
    return new Int16Array(this.buffer, at, count);
  }

  u32(at: number, count: number): Uint32Array {
    return new Uint32Array(this.buffer, at, count);
  }

  f32(at: number, count: number): Float32Array {
    return new Float32Array(this.buffer, at, count);
  }

  f64(at: number, count: number): Float64Array {
    return new Float64Array(this.buffer, at, count);
  }

  private get buffer(): ArrayBuffer {
    return this.kernels.memory.buffer as ArrayBuffer;
  }

  private grow(bytes: number): Piece {
    const before = this.size, last = this.free.at(-1);
    const open = last && last.at + last.bytes === before ? last : null;
    const pages = Math.ceil((bytes - (open?.bytes ?? 0)) / PAGE);
    try {
      this.kernels.memory.grow(pages);
    } catch {
      throw new LimitError("there is not enough memory for an image of this size");
    }
    if (open) {
      open.bytes += pages * PAGE;
      return open;
    }
    const piece = { at: before, bytes: pages * PAGE };
    this.free.push(piece);
    return piece;
  }
}

/** Pieces of memory that are given back together. */
export class Room {
  private pieces = new Set<number>();

  constructor(readonly machine: Machine) {}

  take(bytes: number): number {
    const at = this.machine.take(bytes);
    this.pieces.add(at);
    return at;
  }

  zeros(bytes: number): number {
    const at = this.machine.zeros(bytes);
    this.pieces.add(at);
    return at;
  }

  give(at: number): void {
    this.pieces.delete(at);
    this.machine.give(at);
  }

  /** Give all of it back. */
  clear(): void {
    for (const at of this.pieces) this.machine.give(at);
    this.pieces.clear();
  }
}
