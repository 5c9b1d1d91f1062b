/**
 * The exact prior of one picture, walked step by step (docs/format.md, sections 3 and 5).
 *
 * Rows of float64 are worked on one after the other; whole maps are kept as whole numbers in float32,
 * which have at most 24 bits.
 */

import { type Machine, Room } from "./machine";
import type { ExactBlock, Networks, Pointwise, StageNetwork } from "./networks";
import type { Pause } from "./pause";

/** The phase at which each step codes the first channel group. */
const PHASES = [0, 3, 1, 2];
export const STEPS = PHASES.length;
/** Pixels per place of u, z1, z2 and the fine stage. */
export const STRIDES = [32, 16, 8, 8];

const LEAKY = 1;
const RESIDUAL = 2;

/** A finished stage: rows × columns × channels float32, in units of 2^-10. */
export interface Latent {
  at: number;
  rows: number;
  columns: number;
  channels: number;
}

export class Prior {
  /** The finished stages. */
  readonly latents: Latent[] = [];
  /** Of the step predicted last: how many symbols, and pointers to what is known of them. */
  count = 0;
  means = 0;
  indices = 0;
  symbols = 0;

  private machine: Machine;
  private room: Room;
  private maps: Room;
  private network!: StageNetwork;
  private known!: Latent;
  private context!: number;
  private step = 0;

  /** @param height, width multiples of 64 */
  constructor(
    private networks: Networks, machine: Machine, private pause: Pause,
    private height: number, private width: number, quality: number,
  ) {
    this.machine = machine;
    this.room = new Room(machine);
    this.maps = new Room(machine);
    this.begin();
    const first = networks.firstContext(quality);
    this.context = this.maps.take(4 * this.known.rows * this.known.columns * first.length);
    const map = machine.f32(this.context, this.known.rows * this.known.columns * first.length);
    for (let i = 0; i < map.length; i += first.length) map.set(first, i);
  }

  /** Give all memory back, latents included. */
  release(): void {
    this.room.clear();
    this.maps.clear();
  }

  /** No stage will follow: give back what only the next one would need. */
  rest(): void {
    this.room.clear();
    if (this.context) this.maps.give(this.context);
    this.context = 0;
  }

  /** Predict the next step: means (float32) and scale indices (uint8), in coding order. */
  async predict(): Promise<void> {
    const { kernels } = this.machine;
    const { at, rows, columns, channels } = this.known;
    const { width, bounds, steps } = this.network, network = steps[this.step];
    const plane = (rows * columns) / 4, half = columns / 2;
    const scratch = new Room(this.machine);
    const latents = scratch.take(8 * columns * channels);
    const features = scratch.take(8 * columns * width);
    const coded = scratch.take(8 * half * 2 * Math.ceil(channels / STEPS));

    const fill = (row: number, to: number) => {
      const context = this.context + 4 * row * columns * width;
      if (this.step === 0) {
        this.machine.u8(to, 8 * columns * width).fill(0);
        kernels.addContext(to, context, network.phaseOfNothing[row & 1], columns, width);
        return;
      }
      kernels.widen(at + 4 * row * columns * channels, latents, columns * channels);
      product(kernels, network.known, latents, columns, to, 0);
      kernels.addContext(to, context, network.phase[row & 1], columns, width);
    };
    const use = (row: number) => {
      for (let group = 0; group < STEPS; group++) {
        const phase = PHASES[this.step] ^ group;
        if (phase >> 1 !== (row & 1)) continue;
        const out = network.out[group], size = out.cout / 2;
        kernels.pointwise64(
          features + 8 * width * (phase & 1), 16 * width, half, width,
          out.w, out.bias, out.cout, coded, 8 * out.cout, 0,
        );
        const place = bounds[group] * plane + (row >> 1) * half;
        kernels.predicted(
          coded, half, size, this.means + 4 * place, this.indices + place, plane,
          this.networks.thresholds,
        );
      }
    };
    try {
      await this.block(network.block, rows, columns, fill, features, RESIDUAL | LEAKY, use);
    } finally {
      scratch.clear();
    }
  }

  /** Complete the step with the symbols at `symbols` (int16). True where it was the stage's last. */
  push(): boolean {
    const { at, rows, columns, channels } = this.known, { bounds } = this.network;
    const plane = (rows * columns) / 4;
    for (let group = 0; group < STEPS; group++) {
      const phase = PHASES[this.step] ^ group, first = bounds[group];
      const place = (phase >> 1) * columns + (phase & 1);
      this.machine.kernels.settle(
        at + 4 * (place * channels + first), rows / 2, 8 * columns * channels,
        columns / 2, 8 * channels, bounds[group + 1] - first,
        this.means + 4 * first * plane, this.symbols + 2 * first * plane,
      );
    }
    this.step++;
    if (this.step < STEPS) return false;
    this.latents.push(this.known);
    return true;
  }

  /** Complete the step without symbols: by the prior's mean. */
  pushMean(): boolean {
    this.machine.u8(this.symbols, 2 * this.count).fill(0);
    return this.push();
  }

  /** Go on from a finished stage to the next one. */
  async next(): Promise<void> {
    const { kernels } = this.machine;
    const { at, rows, columns, channels } = this.latents.at(-1)!, { width } = this.network;
    const { latentIn, blocks, up, factor } = this.networks.transition(this.latents.length - 1);
    const before = this.context;
    this.begin();
    const wide = this.network.width;
    this.context = this.maps.take(4 * this.known.rows * this.known.columns * wide);

    const scratch = new Room(this.machine);
    const latents = scratch.take(8 * columns * channels);
    const features = scratch.take(8 * columns * width);
    const nothing = scratch.zeros(16 * width);
    const row64 = scratch.take(8 * columns * up.cout);
    const row32 = scratch.take(4 * columns * up.cout);
    const place = (row: number) => before + 4 * row * columns * width;
    const withLatents = (row: number, to: number) => {
      kernels.widen(at + 4 * row * columns * channels, latents, columns * channels);
      product(kernels, latentIn, latents, columns, to, 0);
      kernels.addContext(to, place(row), nothing, columns, width);
    };
    const read = (row: number, to: number) => kernels.widen(place(row), to, columns * width);
    const write = (row: number) => kernels.narrow(features, place(row), columns * width);
    const raise = (row: number) => {
      product(kernels, up, features, columns, row64, 0);
      kernels.narrow(row64, row32, columns * up.cout);
      const line = 4 * factor * columns * wide;
      kernels.shuffle(
        row32, columns, factor, factor * wide, this.context + row * factor * line, line, false,
      );
    };
    try {
      for (const [i, block] of blocks.entries()) {
        const use = i === blocks.length - 1 ? raise : write;
        await this.block(block, rows, columns, i ? read : withLatents, features, RESIDUAL, use);
      }
    } finally {
      scratch.clear();
    }
    this.maps.give(before);
  }

  /** Make room for a stage and its steps. */
  private begin(): void {
    const index = this.latents.length, stride = STRIDES[index];
    this.network = this.networks.stage(index);
    const rows = this.height / stride, columns = this.width / stride;
    const { channels } = this.network;
    this.known = { at: this.maps.zeros(4 * rows * columns * channels), rows, columns, channels };
    this.count = (rows * columns * channels) / 4;
    this.step = 0;
    this.room.clear();
    this.means = this.room.take(4 * this.count);
    this.indices = this.room.take(this.count);
    this.symbols = this.room.take(2 * this.count);
  }

  /**
   * A residual block over a map, row by row.
   *
   * @param fill writes a row of columns × width float64
   * @param features where the rows of the result stand in turn
   * @param use takes the result of a row, behind which no row is filled but the next
   */
  private async block(
    block: ExactBlock, rows: number, columns: number, fill: (row: number, to: number) => void,
    features: number, mode: number, use: (row: number) => void,
  ): Promise<void> {
    const { kernels } = this.machine, width = block.first.cin;
    const bytes = 8 * columns * width, edge = 8 * width;
    const scratch = new Room(this.machine);
    const ring = [0, 1, 2].map(() => scratch.zeros(bytes + 2 * edge));
    const nothing = scratch.zeros(bytes + 2 * edge);
    const a = scratch.take(bytes), b = scratch.take(bytes);
    const at = (row: number) => (row < 0 || row >= rows ? nothing : ring[row % 3]);
    try {
      fill(0, ring[0] + edge);
      for (let row = 0; row < rows; row++) {
        if (row + 1 < rows) fill(row + 1, at(row + 1) + edge);
        const { w, bias } = block.depthwise;
        kernels.depthwise64(at(row - 1), at(row), at(row + 1), w, bias, a, columns, width);
        product(kernels, block.first, a, columns, b, LEAKY);
        const middle = at(row) + edge;
        this.machine.u8(features, bytes).set(this.machine.u8(middle, bytes));
        product(kernels, block.second, b, columns, features, mode);
        use(row);
        if (this.pause.due) await this.pause.rest();
      }
    } finally {
      scratch.clear();
    }
  }
}

/** Rows of positions through a product: cin → cout float64. */
function product(
  kernels: Machine["kernels"], { w, bias, cin, cout }: Pointwise, x: number, n: number, out: number,
  mode: number,
): void {
  kernels.pointwise64(x, 8 * cin, n, cin, w, bias, cout, out, 8 * cout, mode);
}
