/**
 * A file whose bytes arrive piece by piece → pictures that sharpen. The Python side's
 * `codec.incremental` and `codec.decoding` do the same, with the same words.
 */

import { ContainerReader, type Header } from "./container";
import { ArgumentError, UnsupportedFileError } from "./errors";
import { FileDecoder, LAYERS, SCALE_OF } from "./fileDecoder";
import type { ImageDecoder } from "./graphics";
import type { Machine } from "./machine";
import type { Networks } from "./networks";
import type { Pause } from "./pause";
import type { Picture } from "./picture";

export const MAX_PIXELS = 2 ** 26;

export interface Options {
  /** Use only the first n layers. */
  layers?: number;
  /** 1: full size, 2: half, 4: a quarter. */
  scale?: 1 | 2 | 4;
  /** Refuse files that declare more, sides rounded up to multiples of 64. */
  maxPixels?: number;
}

/** The picture as far as the bytes go. */
export interface Frame {
  picture: Picture;
  /** Layers of the file in it. */
  layers: number;
  /** The original's size is divided by this, rounded up. */
  scale: number;
  /** So many leading bytes were enough for it. */
  end: number;
}

/** What a file came to. */
export interface Result extends Frame {
  layersDeclared: number;
  stages: number;
  stagesDeclared: number;
  quality: number;
  /** CRC-32 of each layer's symbols as little-endian int32: equal on every machine. */
  symbolChecksums: number[];
  /** What was missing or damaged. */
  notes: string[];
  /** Whether something is damaged, not merely cut. */
  damaged: boolean;
  /** Whether the file's fitted filter was applied. */
  filtered: boolean;
  /** The ICC profile; its colours are not converted. */
  icc: Uint8Array | null;
}

/** Raises ArgumentError. */
export function checkOptions({ layers, scale }: Options): void {
  if (layers !== undefined && ![1, 2, 3].includes(layers)) {
    throw new ArgumentError(`layers must be 1, 2 or 3, not ${layers}`);
  }
  if (scale !== undefined && ![1, 2, 4].includes(scale)) {
    throw new ArgumentError(`scale must be 1, 2 or 4, not ${scale}`);
  }
}

/** Networks for the file of a header, and the memory that they live in. */
export type Prepare = (header: Header) => Promise<{ networks: Networks; machine: Machine }>;

/**
 * Decodes a file whose bytes arrive piece by piece. Whoever makes one calls {@link release}.
 *
 * Every method raises CodecError as soon as the bytes allow.
 */
export class Decoder {
  readonly reader: ContainerReader;
  private work: FileDecoder | null = null;
  private failure: unknown = null;
  private scale: number;

  constructor(
    private prepare: Prepare, private pause: Pause, private options: Options = {},
    private imageDecoder: ImageDecoder | null = null,
  ) {
    checkOptions(options);
    this.reader = new ContainerReader(options.maxPixels ?? MAX_PIXELS);
    this.scale = options.scale ?? 1;
  }

  /** Take more bytes; the frames they complete, coarse to fine, each as soon as it is drawn. */
  async *push(data: Uint8Array): AsyncGenerator<Frame> {
    if (this.failure) throw this.failure;
    try {
      for (const chunk of this.reader.push(data)) {
        const work = await this.started();
        if (chunk.type !== "L" || !(await work.push(chunk))) continue;
        const picture = await work.frame();
        if (picture) {
          yield { picture, layers: work.count, scale: SCALE_OF[work.count - 1], end: chunk.end };
        }
      }
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  /** Whether all layers that are wanted are decoded, and more bytes hold only what is not. */
  get satisfied(): boolean {
    return this.work?.satisfied ?? false;
  }

  /**
   * No more bytes will come: the picture they give, with what is missing filled.
   *
   * @param left whether the rest of the file was left unread, because it is not wanted
   */
  async finish(left = false): Promise<Result> {
    if (!left) this.reader.finish();
    const work = await this.started();
    const result = await work.finish(left);
    return { ...result, scale: this.scale, end: this.reader.received };
  }

  release(): void {
    this.work?.release();
    this.work = null;
  }

  private async started(): Promise<FileDecoder> {
    if (!this.work) {
      const { header } = this.reader, { networks, machine } = await this.prepare(header!);
      const { layers } = header!;
      if (layers > LAYERS.length) {
        throw new UnsupportedFileError(
          `the file declares ${layers} layers: a newer program is needed`,
        );
      }
      this.work = new FileDecoder(
        this.reader, networks, machine, this.pause, this.options, this.imageDecoder,
      );
    }
    return this.work;
  }
}
