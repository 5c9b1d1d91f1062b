/** The filter fitted to a picture by its encoder (docs/format.md, section 4), strip by strip. */

import { TONES } from "./filterCode";
import { type Machine, Room } from "./machine";
import type { Finish } from "./synthesis";

/** Pixels seen beyond the output. */
const REACH = 2;
/** Numbers on both sides of a line: no less than the reach, and a multiple of 4. */
const BORDER = 4;
/** What a change of Y, U, V is to R, G, B. */
const SHARES = [[1, 1, 1], [1, 0, -1], [-1, 2, -1]];

export class PictureFilter implements Finish {
  readonly reach = REACH;

  /** @param planes coefficients of Y, U, V, as `unpackFilter` gives them */
  constructor(private planes: number[][]) {}

  apply(machine: Machine, pixels: number, rows: number, width: number, top: number, bottom: number) {
    const room = new Room(machine);
    try {
      const strip = new Strip(room, pixels, rows, width, top, bottom);
      this.planes.forEach((plane, index) => {
        if (plane.some(Boolean)) strip.correct(index, plane, SHARES[index]);
      });
    } finally {
      room.clear();
    }
  }
}

/** Rows of a picture with two more above and below, as planes. */
class Strip {
  private machine: Machine;
  private line: number;
  /** Numbers of a plane, and its first that has all neighbours. */
  private size: number;
  private start: number;
  private planes: number[];
  private steering: number[];
  private squares: { y: number; yy: number } | null = null;

  constructor(
    private room: Room, private pixels: number, rows: number, private width: number,
    private top: number, private bottom: number,
  ) {
    const { kernels } = this.machine = room.machine;
    const line = this.line = width + 2 * BORDER;
    this.size = (bottom - top + 2 * REACH) * line;
    this.start = 3 * line; // kernels look so far beyond both ends, and find room
    this.planes = [this.plane(), this.plane(), this.plane()];
    const [y, u, v] = this.planes;
    // From the edges inwards, for planesOf clamps pixels in place.
    for (let row = top - REACH; row < bottom + REACH; row++) {
      const from = pixels + 12 * width * Math.max(0, Math.min(rows - 1, row));
      const to = 4 * line * (row - top + REACH);
      kernels.planesOf(from, width, y + to, u + to, v + to, BORDER);
    }
    this.steering = [1, line, line + 1, line - 1].map((step) => {
      const turn = this.plane();
      kernels.turns(y, this.size, step, turn);
      return this.box(turn, 1);
    });
    const [across, down, falling, rising] = this.steering;
    kernels.steer(across, down, falling, rising, this.size);
  }

  /** Add the change of one plane to the pixels. */
  correct(index: number, coefficients: number[], [red, green, blue]: number[]): void {
    const { room, machine: { kernels }, line, size } = this;
    const [y, u, v] = this.planes, [axis, tilt, active] = this.steering;
    const tones = coefficients.length - TONES;
    const c = room.take(4 * coefficients.length), change = this.plane();
    this.machine.f32(c, coefficients.length).set(coefficients);
    if (!coefficients.slice(0, tones).some(Boolean)) {
      // Nothing but tones: the change begins with zeros.
    } else if (index === 0) {
      kernels.lumaChange(y, axis, tilt, active, size, line, c, change);
    } else {
      const own = this.planes[index], other = this.planes[3 - index], slope = this.slope(own);
      kernels.chromaChange(own, other, y, axis, tilt, slope, size, line, c, change);
    }
    if (coefficients.slice(tones).some(Boolean)) {
      kernels.addTones(y, u, v, size, c + 4 * tones, change);
    }
    for (let row = this.top; row < this.bottom; row++) {
      const from = change + 4 * (line * (row - this.top + REACH) + BORDER);
      kernels.applyChange(this.pixels + 12 * this.width * row, from, this.width, red, green, blue);
    }
  }

  /** Slope of a chroma plane over luma. */
  private slope(plane: number): number {
    const { kernels } = this.machine, [y] = this.planes;
    this.squares ??= { y: this.box(y, 2), yy: this.box(this.product(y, y), 2) };
    const mean = this.box(plane, 2), both = this.box(this.product(y, plane), 2);
    kernels.slopes(this.squares.y, this.squares.yy, mean, both, this.size);
    return both;
  }

  private product(a: number, b: number): number {
    const to = this.plane();
    this.machine.kernels.products(a, b, this.size, to);
    return to;
  }

  /** Sums over (2·reach + 1)² places. */
  private box(plane: number, reach: number): number {
    const lines = this.plane(), to = this.plane();
    this.machine.kernels.sums(plane, this.size, 1, reach, lines);
    this.machine.kernels.sums(lines, this.size, this.line, reach, to);
    return to;
  }

  /** Room for a plane, with room around it for kernels that look beyond its ends. */
  private plane(): number {
    return this.room.zeros(4 * (this.size + 2 * this.start)) + 4 * this.start;
  }
}
