/** Weights as `python -m models.export_web` writes them; its docstring says how. */

import { CodecError, ModelError, UnsupportedFileError } from "./errors";
import { inflate } from "./inflate";

/** A tensor of the weights file; whole numbers and half precision alike as JavaScript numbers. */
export interface Tensor {
  shape: number[];
  values: Int16Array | Int32Array | Float32Array;
}

/** What both parts say of their model. */
interface PartHeader {
  model: string;
  model_id: number;
  fingerprint: string;
  skip_index: number;
  /** The quality from which files have the fine stage; null: none has. */
  fine_from: number | null;
  tensors: [name: string, type: string, shape: number[]][];
}

/** Gives the bytes of a file of weights by its name, or null where there is no such file. */
export type Loader = (name: string) => Promise<Uint8Array | null>;

/** Models by the id in a file's header. Ids are never reused. */
const MODELS: Record<number, string> = {
  1: "ssvae", 2: "convdraw", 3: "ssvae-sketch", 4: "ssvae-psnr",
};

/** One model's weights, which arrive in two parts. */
export class Weights {
  private tensors = new Map<string, Tensor>();
  private rest: Promise<void> | null = null;

  private constructor(
    readonly header: PartHeader,
    private loader: Loader,
    first: Map<string, Tensor>,
  ) {
    this.add(first);
  }

  /**
   * Load what the first layer needs.
   *
   * @throws UnsupportedFileError: there are no weights for such a file; ModelError: they are damaged
   */
  static async load(modelId: number, fingerprint: string, loader: Loader): Promise<Weights> {
    const model = MODELS[modelId];
    if (!model) {
      throw new UnsupportedFileError(
        `model id ${modelId} is not known to this version: a newer one is needed`,
      );
    }
    const part = await load(`${fingerprint}-u.bin`, loader);
    if (!part) {
      throw new UnsupportedFileError(
        `the file was written with weights ${fingerprint} of model ${model}, which are not here`,
      );
    }
    const { header, tensors } = part;
    if (header.model_id !== modelId || header.fingerprint !== fingerprint) {
      throw new UnsupportedFileError(
        `the file was written with weights ${fingerprint} of model ${model}; here are ` +
        `${header.fingerprint} of model ${header.model}`,
      );
    }
    return new Weights(header, loader, tensors);
  }

  /** Load the second part. Raises ModelError; another call tries once more. */
  whole(): Promise<void> {
    this.rest ??= this.loadRest().catch((error) => {
      this.rest = null;
      throw error;
    });
    return this.rest;
  }

  tensor(name: string): Tensor {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new ModelError(`the weights of ${this.header.model} lack ${name}`);
    return tensor;
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  private async loadRest(): Promise<void> {
    const name = `${this.header.fingerprint}-rest.bin`;
    const part = await load(name, this.loader);
    if (!part) throw new ModelError(`the weights ${name} are not here`);
    if (part.header.fingerprint !== this.header.fingerprint) {
      throw new ModelError(`the weights ${name} are those of another model`);
    }
    this.add(part.tensors);
  }

  private add(tensors: Map<string, Tensor>): void {
    for (const [name, tensor] of tensors) this.tensors.set(name, tensor);
  }
}

async function load(name: string, loader: Loader) {
  try {
    const packed = await loader(name);
    return packed && unpack(await inflate(packed));
  } catch (error) {
    if (error instanceof CodecError) throw error;
    throw new ModelError(`the weights ${name} cannot be used (${(error as Error).message})`);
  }
}

function unpack(plain: Uint8Array): { header: PartHeader; tensors: Map<string, Tensor> } {
  let at = 4 + new DataView(plain.buffer, plain.byteOffset).getUint32(0, true);
  const header: PartHeader = JSON.parse(new TextDecoder().decode(plain.subarray(4, at)));
  const tensors = new Map<string, Tensor>();
  for (const [name, type, shape] of header.tensors) {
    const count = shape.reduce((a, b) => a * b, 1);
    const size = { int8: 1, int16: 2, float16: 2, int32: 4 }[type];
    if (!size || at + size * count > plain.length) throw new Error(`${name} is damaged`);
    tensors.set(name, { shape, values: numbers(plain.subarray(at, at + size * count), type, count) });
    at += size * count;
  }
  if (at !== plain.length) throw new Error("bytes follow the last tensor");
  return { header, tensors };
}

/** Numbers from their planes of bytes, low bytes first. */
function numbers(planes: Uint8Array, type: string, count: number): Tensor["values"] {
  const out = type === "int32" ? new Int32Array(count)
    : type === "float16" ? new Float32Array(count) : new Int16Array(count);
  const size = planes.length / count, unused = 32 - 8 * size;
  for (let i = 0; i < count; i++) {
    let value = 0;
    for (let k = 0; k < size; k++) value |= planes[k * count + i] << (8 * k);
    out[i] = type === "float16" ? HALVES[value] : (value << unused) >> unused;
  }
  return out;
}

/** All numbers of half precision by their bits. */
const HALVES = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
});
