/** What all decoding in one worker shares: kernels, weights, memory, turns. */

import kernels from "../build/kernels.wasm";
import { type Header, padded } from "./container";
import { Decoder, type Frame, type Options, type Result } from "./decoder";
import { ModelError } from "./errors";
import type { ImageDecoder } from "./graphics";
import { type Kernels, Machine } from "./machine";
import { Networks } from "./networks";
import { Pause, Turns } from "./pause";
import { type Loader, Weights } from "./weights";

/** A memory larger than this is let go when no picture is in work. */
const KEPT_BYTES = 96 * 2 ** 20;
/** Pictures in work have no more pixels together, as large as they are drawn, unless it is one. */
const PIXELS_AT_ONCE = 12 * 2 ** 20;

export interface Listeners {
  header?: (header: Header) => void;
  bytes?: (received: number) => void;
  frame?: (frame: Frame) => void | Promise<void>;
}

export class Engine {
  private compiled: Promise<WebAssembly.Module> | null = null;
  private weights = new Map<string, Promise<Weights>>();
  private machine: Promise<Machine> | null = null;
  private networks = new Map<Weights, Networks>();
  private turns = new Turns();
  private pixels = 0;
  private waiting: (() => void)[] = [];

  constructor(private loader: Loader, private imageDecoder: ImageDecoder | null = null) {}

  /** Bytes of the kernels' memory now, 0 without one. */
  async memory(): Promise<number> {
    return this.machine ? (await this.machine).size : 0;
  }

  /** Bytes of it that are taken: between pictures, those of the networks. */
  async used(): Promise<number> {
    return this.machine ? (await this.machine).used : 0;
  }

  /**
   * Decode a file whose bytes come piece by piece.
   *
   * @param on `header` takes size, quality and number of layers as soon as they are known, `bytes`
   *     how many came, `frame` the picture of each layer as it is drawn; the result comes last
   * @param options with `sparing`, bytes that are not wanted are left unread
   * @throws CodecError, AbortError
   */
  async decode(
    source: AsyncIterable<Uint8Array>, options: Options & { sparing?: boolean } = {},
    on: Listeners = {}, signal?: AbortSignal,
  ): Promise<Result> {
    let taken = 0;
    const prepare = async (header: Header) => {
      on.header?.(header);
      const pixels = (padded(header.width) * padded(header.height)) / (options.scale ?? 1) ** 2;
      await this.admit(pixels, signal);
      taken = pixels;
      return this.prepare(header);
    };
    const decoder = new Decoder(prepare, new Pause(signal, this.turns), options, this.imageDecoder);
    try {
      for await (const piece of source) {
        signal?.throwIfAborted();
        for await (const frame of decoder.push(piece)) await on.frame?.(frame);
        on.bytes?.(decoder.reader.received);
        if (options.sparing && decoder.satisfied) return await decoder.finish(true);
      }
      signal?.throwIfAborted();
      return await decoder.finish();
    } finally {
      decoder.release();
      this.leave(taken);
    }
  }

  private async prepare(header: Header): Promise<{ networks: Networks; machine: Machine }> {
    const weights = await this.weightsOf(header);
    this.machine ??= this.makeMachine();
    const machine = await this.machine;
    let networks = this.networks.get(weights);
    if (!networks) this.networks.set(weights, networks = new Networks(weights, machine));
    return { networks, machine };
  }

  private weightsOf({ modelId, fingerprint }: Header): Promise<Weights> {
    const key = `${modelId} ${fingerprint}`;
    let weights = this.weights.get(key);
    if (!weights) {
      weights = Weights.load(modelId, fingerprint, this.loader);
      weights.catch(() => this.weights.delete(key)); // the next file asks anew
      this.weights.set(key, weights);
    }
    return weights;
  }

  private async makeMachine(): Promise<Machine> {
    try {
      this.compiled ??= WebAssembly.compile(kernels as BufferSource);
      const instance = await WebAssembly.instantiate(await this.compiled, {
        env: { abort: () => { throw new Error("the kernels stopped"); } },
      });
      return new Machine(instance.exports as unknown as Kernels);
    } catch (error) {
      this.machine = this.compiled = null;
      throw new ModelError(`the decoder cannot be started (${(error as Error).message})`);
    }
  }

  /** Wait until a picture of so many pixels may be in work. */
  private async admit(pixels: number, signal?: AbortSignal): Promise<void> {
    while (this.pixels && this.pixels + pixels > PIXELS_AT_ONCE) {
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
      signal?.throwIfAborted();
    }
    this.pixels += pixels;
  }

  private leave(pixels: number): void {
    this.pixels -= pixels;
    const { waiting } = this;
    this.waiting = [];
    for (const go of waiting) go();
    if (this.pixels) return;
    this.machine?.then((machine) => {
      if (this.pixels || machine.size <= KEPT_BYTES) return;
      this.machine = null;
      this.networks.clear();
    }).catch(() => {});
  }
}
