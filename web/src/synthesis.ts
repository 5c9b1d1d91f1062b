/**
 * Latents → pictures (docs/format.md, section 4), in float32.
 *
 * Feature maps are whole where the picture is at 1/8 of its size or below, and every block works on
 * its map in place; what is finer is drawn in strips. Each of {@link Synthesis.coarse},
 * {@link Synthesis.middle} and {@link Synthesis.fine} uses up the map of the one before.
 */

import { type Machine, Room } from "./machine";
import type { GatedBlock, Networks, Pointwise } from "./networks";
import type { Pause } from "./pause";
import type { Latent } from "./prior";

/** Takes rows of pixels, RGB float32 around [0, 1], beginning with row `top`. */
export type Sink = (top: number, pixels: Float32Array, rows: number) => void;

/** Changes pixels before they are shown: sees `reach` rows beyond its output. */
export interface Finish {
  reach: number;
  /**
   * Change the rows top … bottom in place; the edges of the picture are repeated beyond its border.
   *
   * @param pixels pointer to rows × width × 3 float32, which end at the picture's border or beyond
   *     the reach
   */
  apply(
    machine: Machine, pixels: number, rows: number, width: number, top: number, bottom: number,
  ): void;
}

/** The filters of a picture: before its correction is added, and of what is shown. */
export interface Filters {
  before: Finish | null;
  last: Finish | null;
}

interface FeatureMap {
  at: number;
  rows: number;
  columns: number;
  channels: number;
}

/** Rows of pixels drawn at once. */
const STRIP = 128;
/** Latents are whole multiples of 1 / UNIT. */
const UNIT = 1024;
/** Pixels lie around 1/2. */
const MIDDLE = 0.5;
const FINE_BLOCK = 8;

/** Rows that a filter sees beyond its output, as multiples of the fine stage's blocks. */
function reachOf(finish: Finish | null): number {
  return finish ? Math.ceil(finish.reach / FINE_BLOCK) * FINE_BLOCK : 0;
}

export class Synthesis {
  private machine: Machine;
  private room: Room;
  private map: FeatureMap | null = null;

  /** @param width of the picture, a multiple of 64 */
  constructor(
    private networks: Networks, machine: Machine, private pause: Pause, private quality: number,
    private width: number,
  ) {
    this.machine = machine;
    this.room = new Room(machine);
  }

  /** Give all memory back. */
  release(): void {
    this.room.clear();
    this.map = null;
  }

  /** u → features at 1/16. */
  async coarse(u: Latent): Promise<void> {
    const channels = this.networks.float("synthesis.inject.0").cout;
    const map = this.makeMap(u.rows, u.columns, channels);
    await this.enter(0, map, u, false);
    await this.blocks(map, this.networks.gatedBlocks("synthesis.stage_32"));
    this.map = await this.up(map, "synthesis.up_16.mix");
    await this.blocks(this.map, this.networks.gatedBlocks("synthesis.stage_16"));
  }

  /** z1 → features at 1/8. */
  async middle(z1: Latent): Promise<void> {
    const map = this.map!;
    await this.enter(1, map, z1, true);
    await this.blocks(map, this.networks.gatedBlocks("synthesis.stage_16_z1"));
    this.map = await this.up(map, "synthesis.up_8.mix");
    await this.blocks(this.map, this.networks.gatedBlocks("synthesis.stage_8"));
  }

  /** The picture at a quarter (from u) or half (from u and z1) of the size. */
  async small(head: "y1" | "y2", sink: Sink): Promise<void> {
    const { at, rows, columns, channels } = this.map!;
    const layer = this.head(`head_${head}`), scratch = new Room(this.machine);
    const values = scratch.take(4 * columns * layer.cout), line = 4 * columns * 12;
    const pixels = scratch.take(4 * line);
    try {
      for (let row = 0; row < rows; row++) {
        this.product(layer, at + 4 * row * columns * channels, columns, values, false);
        this.machine.kernels.shuffle(values, columns, 4, 12, pixels, line, false);
        sink(4 * row, this.machine.f32(pixels, line), 4);
        if (this.pause.due) await this.pause.rest();
      }
    } finally {
      scratch.clear();
    }
  }

  /** z2, and what the fine stage adds → the picture in full size, in strips. */
  async fine(z2: Latent, fine: Latent | null, filters: Filters, sink: Sink): Promise<void> {
    const map = this.map!, height = FINE_BLOCK * map.rows;
    await this.enter(2, map, z2, true);
    await this.blocks(map, this.networks.gatedBlocks("synthesis.stage_8_z2"));
    const finish = filters.last, before = fine && filters.before, line = 12 * this.width;
    const reach = reachOf(finish), farther = reachOf(before);
    for (let top = 0; top < height; top += STRIP) {
      const bottom = Math.min(height, top + STRIP);
      const first = Math.max(0, top - reach), last = Math.min(height, bottom + reach);
      const from = Math.max(0, first - farther), to = Math.min(height, last + farther);
      const strip = new Room(this.machine);
      try {
        const drawn = await this.strip(map, from, to, strip);
        before?.apply(this.machine, drawn, to - from, this.width, first - from, last - from);
        const pixels = drawn + line * (first - from);
        if (fine) this.addFine(fine, first, last, pixels, strip);
        finish?.apply(
          this.machine, pixels, last - first, this.width, top - first, bottom - first,
        );
        const shown = pixels + line * (top - first);
        sink(top, this.machine.f32(shown, 3 * this.width * (bottom - top)), bottom - top);
      } finally {
        strip.clear();
      }
      if (this.pause.due) await this.pause.rest();
    }
    this.release();
  }

  /** Pixels of the rows first … last (multiples of 8) from z2 alone, RGB float32; a pointer. */
  private async strip(map: FeatureMap, first: number, last: number, room: Room): Promise<number> {
    const { kernels } = this.machine, blocks = this.networks.gatedBlocks("synthesis.stage_4");
    const up = this.networks.float("synthesis.up_4.mix", { factor: 2 });
    const head = this.head("head_x"), channels = head.cin, columns = 2 * map.columns;
    // Rows at 1/8 that rows at 1/4, and what they see beyond, are made of.
    const seen = Math.ceil(blocks.reduce((sum, block) => sum + (block.kernel >> 1), 0) / 2);
    const from = Math.max(0, first / 8 - seen), to = Math.min(map.rows, last / 8 + seen);
    const line = 4 * columns * channels;
    const quarter = { at: room.take(line * 2 * (to - from)), rows: 2 * (to - from), columns, channels };
    const values = room.take(4 * Math.max(map.columns * up.cout, columns * head.cout));
    const { scale, shift } = this.modulation(3, room);
    for (let row = from; row < to; row++) {
      const place = quarter.at + 2 * (row - from) * line;
      this.product(up, map.at + 4 * row * map.columns * map.channels, map.columns, values, false);
      kernels.shuffle(values, map.columns, 2, 2 * channels, place, line, false);
      kernels.affine(place, 2 * columns, channels, scale, shift, place);
    }
    await this.blocks(quarter, blocks);
    const pixelLine = 4 * 3 * this.width;
    const pixels = room.take(pixelLine * (last - first));
    for (let row = first / 4; row < last / 4; row++) {
      this.product(head, quarter.at + (row - 2 * from) * line, columns, values, false);
      kernels.shuffle(values, columns, 4, 12, pixels + (4 * row - first) * pixelLine, pixelLine, false);
    }
    return pixels;
  }

  private addFine(fine: Latent, first: number, last: number, pixels: number, room: Room): void {
    const give = this.networks.float("fine.give", { factor: FINE_BLOCK });
    const { columns, channels } = fine, line = 12 * this.width;
    const latents = room.take(4 * columns * channels), values = room.take(4 * columns * give.cout);
    const value = this.valueOf(3, room);
    for (let row = first / FINE_BLOCK; row < last / FINE_BLOCK; row++) {
      value(fine, row, latents);
      this.product(give, latents, columns, values, false);
      const place = pixels + (FINE_BLOCK * row - first) * line;
      this.machine.kernels.shuffle(
        values, columns, FINE_BLOCK, 3 * FINE_BLOCK, place, line, true,
      );
    }
  }

  /** modulate(x + inject(value)), row by row in place; without `add` the map holds nothing yet. */
  private async enter(index: number, map: FeatureMap, latent: Latent, add: boolean): Promise<void> {
    const inject = this.networks.float(`synthesis.inject.${index}`);
    const scratch = new Room(this.machine);
    const value = this.valueOf(index, scratch), { scale, shift } = this.modulation(index, scratch);
    const row32 = scratch.take(4 * latent.columns * latent.channels);
    try {
      for (let row = 0; row < map.rows; row++) {
        const place = map.at + 4 * row * map.columns * map.channels;
        value(latent, row, row32);
        this.product(inject, row32, map.columns, place, add);
        this.machine.kernels.affine(place, map.columns, map.channels, scale, shift, place);
        if (this.pause.due) await this.pause.rest();
      }
    } finally {
      scratch.clear();
    }
  }

  /** A function that writes a row of a stage's latents, divided by their gains. */
  private valueOf(index: number, room: Room): (latent: Latent, row: number, to: number) => void {
    const gains = this.networks.curve(`log_gains.${index}`, this.quality);
    const scale = this.numbers(gains.map((gain) => Math.exp(-gain) / UNIT), room);
    const shift = room.zeros(4 * gains.length);
    return ({ at, columns, channels }, row, to) => {
      const from = at + 4 * row * columns * channels;
      this.machine.kernels.affine(from, columns, channels, scale, shift, to);
    };
  }

  private modulation(index: number, room: Room): { scale: number; shift: number } {
    const name = `synthesis.modulate.${index}`;
    return {
      scale: this.numbers(this.networks.curve(`${name}.scale`, this.quality).map((s) => 1 + s), room),
      shift: this.numbers(this.networks.curve(`${name}.shift`, this.quality), room),
    };
  }

  private numbers(values: Float32Array, room: Room): number {
    const at = room.take(4 * values.length);
    this.machine.f32(at, values.length).set(values);
    return at;
  }

  /** Twice as many rows and columns; the map that it was made of is given back. */
  private async up(map: FeatureMap, name: string): Promise<FeatureMap> {
    const layer = this.networks.float(name, { factor: 2 }), channels = layer.cout / 4;
    const larger = this.makeMap(2 * map.rows, 2 * map.columns, channels);
    const values = this.room.take(4 * map.columns * layer.cout), line = 4 * larger.columns * channels;
    for (let row = 0; row < map.rows; row++) {
      this.product(layer, map.at + 4 * row * map.columns * map.channels, map.columns, values, false);
      this.machine.kernels.shuffle(
        values, map.columns, 2, 2 * channels, larger.at + 2 * row * line, line, false,
      );
      if (this.pause.due) await this.pause.rest();
    }
    this.room.give(values);
    this.room.give(map.at);
    return larger;
  }

  /** Gated blocks in place: x + project(clamp(a · silu(b))), with a, b of expand(depthwise(x)). */
  private async blocks(map: FeatureMap, blocks: GatedBlock[]): Promise<void> {
    for (const block of blocks) await this.block(map, block);
  }

  private async block({ at, rows, columns, channels }: FeatureMap, block: GatedBlock): Promise<void> {
    const { kernels } = this.machine, { kernel, depthwise } = block, reach = kernel >> 1;
    const scratch = new Room(this.machine), bytes = 4 * columns * channels;
    const edge = 4 * reach * channels;
    // The rows around the one in work, as they were before the block.
    const ring = Array.from({ length: kernel }, () => scratch.zeros(bytes + 2 * edge));
    const nothing = scratch.zeros(bytes + 2 * edge);
    const pointers = scratch.take(4 * kernel);
    const a = scratch.take(bytes), wide = scratch.take(2 * bytes);
    const load = (row: number) => {
      if (row >= rows) return;
      const from = this.machine.u8(at + row * bytes, bytes);
      this.machine.u8(ring[row % kernel] + edge, bytes).set(from);
    };
    try {
      for (let row = 0; row < reach; row++) load(row);
      for (let row = 0; row < rows; row++) {
        load(row + reach);
        const around = this.machine.u32(pointers, kernel);
        for (let i = 0; i < kernel; i++) {
          const one = row + i - reach;
          around[i] = one < 0 || one >= rows ? nothing : ring[one % kernel];
        }
        kernels.depthwise32(pointers, kernel, depthwise.w, depthwise.bias, a, columns, channels);
        this.product(block.expand, a, columns, wide, false);
        kernels.gate(wide, columns, channels, a);
        this.product(block.project, a, columns, at + row * bytes, true);
        if (this.pause.due) await this.pause.rest();
      }
    } finally {
      scratch.clear();
    }
  }

  private head(name: string): Pointwise {
    return this.networks.float(`synthesis.${name}.mix`, { factor: 4, plus: MIDDLE });
  }

  private makeMap(rows: number, columns: number, channels: number): FeatureMap {
    return { at: this.room.take(4 * rows * columns * channels), rows, columns, channels };
  }

  private product({ w, bias, cin, cout }: Pointwise, x: number, n: number, out: number, add: boolean) {
    this.machine.kernels.pointwise32(x, n, cin, w, bias, cout, out, add);
  }
}
