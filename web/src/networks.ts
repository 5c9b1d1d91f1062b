/**
 * A model's tensors as the kernels want them: packed into their memory, each when it is first used.
 */

import type { Machine } from "./machine";
import type { Tensor, Weights } from "./weights";

/** A 1×1 convolution; pointers to packed weights and bias. */
export interface Pointwise {
  w: number;
  bias: number;
  cin: number;
  cout: number;
}

/** A residual block of the exact prior: depthwise 3×3, two products. */
export interface ExactBlock {
  depthwise: { w: number; bias: number };
  first: Pointwise;
  second: Pointwise;
}

/** The network of one coding step. */
export interface StepNetwork {
  known: Pointwise;
  /** By row mod 2, the pointer to two positions' constants. */
  phase: [number, number];
  /** The same where nothing is known, with what `known` makes of nothing. */
  phaseOfNothing: [number, number];
  block: ExactBlock;
  /** Means and raw scales of each channel group. */
  out: Pointwise[];
}

export interface StageNetwork {
  channels: number;
  width: number;
  /** The first channel of each group, and the end of the last. */
  bounds: number[];
  steps: StepNetwork[];
}

/** What leads from the context of one stage to that of the next. */
export interface Transition {
  latentIn: Pointwise;
  blocks: ExactBlock[];
  up: Pointwise;
  factor: number;
}

/** Gated block of the synthesis: depthwise k×k, expand, gate, project. */
export interface GatedBlock {
  kernel: number;
  depthwise: { w: number; bias: number };
  expand: Pointwise;
  project: Pointwise;
}

const GROUPS = 4;
const EXACT_PANEL = 4;
const FLOAT_PANEL = 8;
const LIMIT = 2 ** 23 - 1;

/** Units of 2^-22 → units of 2^-10. */
const rescaled = (sum: number) =>
  Math.max(-LIMIT, Math.min(LIMIT, Math.floor(sum / 4096 + 0.5)));

export class Networks {
  private made = new Map<string, unknown>();

  constructor(readonly weights: Weights, private machine: Machine) {}

  /** Scale thresholds, 63 float64. */
  get thresholds(): number {
    return this.once("thresholds", () => this.doubles(this.values("coding.thresholds")));
  }

  /** Pointer to the tables of a stage: 64 times where its cumulatives are and how many entries. */
  tables(stage: number): number {
    const set = this.values("coding.sets")[stage];
    return this.once(`tables ${set}`, () => this.makeTables(set));
  }

  /** Stages that the model has. */
  get stages(): number {
    return this.values("coding.sets").length;
  }

  /** Context of the first stage at a quality in steps of 1/4, whole numbers by channel. */
  firstContext(quality: number): Float32Array {
    const { shape: [knots, channels], values } = this.weights.tensor("prior.quality.knots");
    const at = Math.round(4 * quality), span = 400 / (knots - 1);
    return new Float32Array(channels).map((_, c) => {
      let sum = 0;
      for (let k = 0; k < knots; k++) {
        sum += Math.max(0, span - Math.abs(at - k * span)) * values[k * channels + c];
      }
      return Math.floor(sum / span);
    });
  }

  stage(index: number): StageNetwork {
    return this.once(`stage ${index}`, () => {
      const name = `prior.layers.${index}.steps`;
      const [width, channels] = this.weights.tensor(`${name}.0.known.weight`).shape;
      const bounds = Array.from({ length: GROUPS + 1 }, (_, g) => Math.ceil((channels * g) / GROUPS));
      const steps = Array.from({ length: GROUPS }, (_, i) => this.makeStep(`${name}.${i}`, bounds));
      return { channels, width, bounds, steps };
    });
  }

  /** From stage `index` to the next. */
  transition(index: number): Transition {
    return this.once(`transition ${index}`, () => {
      const shuffled = this.weights.has(`prior.ups.${index}.mix.weight`);
      const up = `prior.ups.${index}${shuffled ? ".mix" : ""}`;
      return {
        latentIn: this.exact(`prior.latent_in.${index}`),
        blocks: this.numbered(`prior.trunks.${index}`, "body.0.weight").map((n) => this.exactBlock(n)),
        up: this.exact(up, shuffled ? 2 : 1),
        factor: shuffled ? 2 : 1,
      };
    });
  }

  /** A 1×1 convolution of the synthesis whose result is shuffled into factor × factor pixels. */
  float(name: string, { factor = 1, plus = 0 } = {}): Pointwise {
    return this.once(name, () => {
      const { shape: [cout, cin], values } = this.weights.tensor(`${name}.weight`);
      const order = shuffleOrder(cout, factor);
      const bias = this.weights.has(`${name}.bias`) ? this.values(`${name}.bias`) : [];
      return {
        w: this.floats(panels(values, cin, order, FLOAT_PANEL)),
        bias: this.floats(order.map((o) => (bias[o] ?? 0) + plus)),
        cin,
        cout,
      };
    });
  }

  gatedBlocks(stage: string): GatedBlock[] {
    return this.once(stage, () => this.numbered(stage, "depthwise.weight").map((name) => {
      const kernel = this.weights.tensor(`${name}.depthwise.weight`).shape[3];
      return {
        kernel,
        depthwise: {
          w: this.floats(taps(this.weights.tensor(`${name}.depthwise.weight`))),
          bias: this.floats(this.values(`${name}.depthwise.bias`)),
        },
        expand: this.float(`${name}.expand`),
        project: this.float(`${name}.project`),
      };
    }));
  }

  /** A function of quality by channel, linear between its knots. */
  curve(name: string, quality: number): Float32Array {
    const { shape: [knots, channels], values } = this.weights.tensor(`${name}.knots`);
    const position = (quality / 100) * (knots - 1);
    const low = Math.min(Math.floor(position), knots - 2), share = position - low;
    return new Float32Array(channels).map((_, c) => {
      const a = values[low * channels + c], b = values[(low + 1) * channels + c];
      return a + (b - a) * share;
    });
  }

  private floats(values: ArrayLike<number>): number {
    const at = this.machine.take(4 * values.length);
    this.machine.f32(at, values.length).set(values);
    return at;
  }

  private doubles(values: ArrayLike<number>): number {
    const at = this.machine.take(8 * values.length);
    this.machine.f64(at, values.length).set(values);
    return at;
  }

  private values(name: string): Tensor["values"] {
    return this.weights.tensor(name).values;
  }

  private once<T>(key: string, make: () => T): T {
    if (!this.made.has(key)) this.made.set(key, make());
    return this.made.get(key) as T;
  }

  /** Names `prefix.0`, `prefix.1`, … as far as the file has tensors for them. */
  private numbered(prefix: string, tensor: string): string[] {
    const names: string[] = [];
    while (this.weights.has(`${prefix}.${names.length}.${tensor}`)) {
      names.push(`${prefix}.${names.length}`);
    }
    return names;
  }

  private exact(name: string, factor = 1): Pointwise {
    const cout = this.weights.tensor(`${name}.weight`).shape[0];
    return this.exactRows(name, shuffleOrder(cout, factor));
  }

  /** Some output channels of a product, in an order. */
  private exactRows(name: string, rows: number[]): Pointwise {
    const { shape: [, cin], values } = this.weights.tensor(`${name}.weight`);
    const bias = this.values(`${name}.bias`);
    return {
      w: this.doubles(panels(values, cin, rows, EXACT_PANEL)),
      bias: this.doubles(rows.map((o) => bias[o])),
      cin,
      cout: rows.length,
    };
  }

  private exactBlock(name: string): ExactBlock {
    return {
      depthwise: {
        w: this.doubles(taps(this.weights.tensor(`${name}.body.0.weight`))),
        bias: this.doubles(this.values(`${name}.body.0.bias`)),
      },
      first: this.exact(`${name}.body.1`),
      second: this.exact(`${name}.body.3`),
    };
  }

  private makeStep(name: string, bounds: number[]): StepNetwork {
    const channels = bounds[GROUPS];
    const { shape: [width], values: phase } = this.weights.tensor(`${name}.phase.value`);
    const bias = this.values(`${name}.known.bias`);
    const constants = (row: number, nothing: boolean) =>
      this.doubles(Array.from({ length: 2 * width }, (_, i) => {
        const c = i % width, column = Math.floor(i / width);
        return phase[4 * c + 2 * row + column] + (nothing ? rescaled(bias[c]) : 0);
      }));
    return {
      known: this.exact(`${name}.known`),
      phase: [constants(0, false), constants(1, false)],
      phaseOfNothing: [constants(0, true), constants(1, true)],
      block: this.exactBlock(`${name}.block`),
      out: Array.from({ length: GROUPS }, (_, g) => {
        const group = Array.from({ length: bounds[g + 1] - bounds[g] }, (_, i) => bounds[g] + i);
        return this.exactRows(`${name}.out`, [...group, ...group.map((c) => channels + c)]);
      }),
    };
  }

  private makeTables(set: number): number {
    const lengths = this.values("coding.lengths"), frequencies = this.values("coding.frequencies");
    const scales = this.weights.tensor("coding.lengths").shape[1];
    const at = this.machine.take(8 * scales);
    let from = 0;
    for (let i = 0; i < set * scales; i++) from += lengths[i];
    for (let j = 0; j < scales; j++) {
      const count = lengths[set * scales + j];
      const table = this.machine.take(4 * (count + 1));
      const cumulative = this.machine.u32(table, count + 1);
      let sum = 0;
      for (let e = 0; e < count; e++) {
        cumulative[e] = Math.floor((sum * (2 ** 24 - count)) / 2 ** 20) + e;
        sum += frequencies[from + e];
      }
      cumulative[count] = 2 ** 24;
      from += count;
      this.machine.u32(at + 8 * j, 2).set([table, count]);
    }
    return at;
  }
}

/** Outputs in the order (row, column, channel) of the pixels that they are shuffled into. */
function shuffleOrder(cout: number, factor: number): number[] {
  const square = factor * factor, channels = cout / square;
  return Array.from({ length: cout }, (_, i) => (i % channels) * square + Math.floor(i / channels));
}

/** Weights out×in, some rows in an order, as panels of `size` outputs: panel, input, output. */
function panels(w: ArrayLike<number>, cin: number, rows: number[], size: number): Float64Array {
  const out = new Float64Array(rows.length * cin);
  rows.forEach((row, i) => {
    const first = Math.floor(i / size) * size * cin + (i % size);
    for (let c = 0; c < cin; c++) out[first + c * size] = w[row * cin + c];
  });
  return out;
}

/** Depthwise weights C×…×k×k as taps × channels. */
function taps({ shape, values }: Tensor): Float64Array {
  const channels = shape[0], count = values.length / channels;
  return new Float64Array(values.length).map(
    (_, i) => values[(i % channels) * count + Math.floor(i / channels)],
  );
}
