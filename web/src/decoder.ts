/**
 * One file → its pictures, layer by layer. The Python side's `codec.decoding` and
 * `codec.incremental` do the same, with the same words.
 */

import { type Chunk, ContainerReader, type Header, padded } from "./container";
import { ArgumentError, CodecError, CorruptError, UnsupportedFileError } from "./errors";
import { unpackFilter } from "./filterCode";
import { inflate } from "./inflate";
import { LayerDecoder } from "./layerDecoder";
import type { Machine } from "./machine";
import type { Networks } from "./networks";
import type { Pause } from "./pause";
import {
  addAlpha, addGraphics, emptyPicture, type Graphics, type ImageDecoder, type Picture, put,
  readAlpha, readGraphics,
} from "./picture";
import { PictureFilter } from "./pictureFilter";
import type { Samples } from "./png";
import { Prior, STEPS } from "./prior";
import { Synthesis } from "./synthesis";

export const MAX_PIXELS = 2 ** 26;
const METADATA_LIMIT = 2 ** 26;
const LAYERS = ["u", "z1", "z2"];
/** The scale of the picture that each layer completes. */
const SCALE_OF = [4, 2, 1];

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

/** A layer's data decode to nothing, or to other symbols than encoded. */
class LayerError extends CorruptError {
  constructor(readonly index: number, message: string) {
    super(message);
  }
}

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

/** The layers of a file one by one, then the picture. */
class FileDecoder {
  /** Layers decoded. */
  count = 0;

  private header: Header;
  private scale: number;
  private upto: number;
  private stages: Stages | null = null;
  private wanted = 0;
  private prior: Prior | null = null;
  private synthesis: Synthesis | null = null;
  /** Layers whose pictures the synthesis has gone through. */
  private drawn = 0;
  private checksums: number[] = [];
  private failure: LayerError | null = null;
  private shown: { layers: number; scale: number; picture: Picture; alpha: boolean } | null = null;
  private alpha: Promise<Samples> | null = null;

  constructor(
    private reader: ContainerReader, private networks: Networks, private machine: Machine,
    private pause: Pause, private options: Options, private imageDecoder: ImageDecoder | null,
  ) {
    this.header = reader.header!;
    this.scale = options.scale ?? 1;
    this.upto = 1 + SCALE_OF.indexOf(this.scale);
  }

  release(): void {
    this.prior?.release();
    this.synthesis?.release();
    this.prior = this.synthesis = null;
  }

  /** Decode the next layer. False where it is not wanted, or of no use. */
  async push(layer: Chunk): Promise<boolean> {
    if (!this.stages) {
      const fineFrom = this.networks.weights.header.fine_from;
      const fine = fineFrom !== null && this.header.quality >= fineFrom;
      this.stages = new Stages([1, 1, fine ? 2 : 1], this.reader);
      this.wanted = Math.min(this.upto, this.options.layers ?? this.upto, this.header.layers);
      // While the first layer is decoded; whoever needs them hears of what goes wrong.
      if (this.upto > 1) this.networks.weights.whole().catch(() => {});
    }
    if (this.count === this.wanted || this.failure) return false;
    if (this.count) await this.networks.weights.whole();
    try {
      await this.pause.alone(() => this.read(layer, this.count));
    } catch (error) {
      if (!(error instanceof LayerError) || this.count === 0) throw error;
      this.failure = error;
      return false;
    }
    this.count++;
    return true;
  }

  /** The picture that the last layer completes, if nothing has to be filled for it. */
  async frame(): Promise<Picture | null> {
    if (!this.stages!.whole(this.count)) return null;
    if (this.count > 1) await this.networks.weights.whole();
    return (await this.pause.alone(() => this.draw(SCALE_OF[this.count - 1]))).picture;
  }

  get satisfied(): boolean {
    return this.stages !== null && this.count === this.wanted && this.wanted < this.header.layers;
  }

  async finish(left: boolean): Promise<Omit<Result, "scale" | "end">> {
    const { reader, header } = this, stages = this.stages!;
    const notes = left ? [] : arrivalNotes(reader), before = notes.length;
    if (this.failure) {
      const { message, index } = this.failure;
      notes.push(`${message}; ${index} of ${header.layers} layers are used`);
    }
    const filtered = this.fittedFilter(notes) !== null;
    if (this.shown?.layers !== this.upto || this.shown.scale !== this.scale) {
      if (this.upto > 1) await this.networks.weights.whole();
      await this.pause.alone(async () => {
        await this.fill();
        await this.draw(this.scale);
      });
    }
    const icc = await this.metadata(notes);
    return {
      picture: await this.completed(left, notes),
      layers: this.count,
      layersDeclared: header.layers,
      stages: stages.used(this.count),
      stagesDeclared: stages.declared,
      quality: header.quality,
      symbolChecksums: this.checksums,
      notes,
      damaged: reader.damage !== null || notes.length > before,
      filtered,
      icc,
    };
  }

  /** Walk on through a stored layer. Raises LayerError. */
  private async read(chunk: Chunk, index: number): Promise<void> {
    const end = this.stages!.used(index + 1);
    let coder: LayerDecoder | null = null;
    try {
      coder = new LayerDecoder(this.machine, this.networks, chunk.payload);
      const prior = await this.walk(end, (walked) => {
        coder!.decode(walked);
        return walked.push();
      });
      coder.finish();
      this.checksums[index] = coder.checksum;
      if (prior.latents.length !== end) throw new Error("the walk ended elsewhere");
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error;
      throw new LayerError(index, `layer ${LAYERS[index]}: ${error.message}`);
    } finally {
      coder?.release();
    }
  }

  /** Walk the prior until so many stages are done. `step` completes a predicted step. */
  private async walk(stages: number, step: (prior: Prior) => boolean): Promise<Prior> {
    this.prior ??= new Prior(
      this.networks, this.machine, this.pause, padded(this.header.height),
      padded(this.header.width), this.header.quality,
    );
    const { prior } = this;
    while (prior.latents.length < stages) {
      if (prior.latents.length) await prior.next();
      for (let i = 0; i < STEPS; i++) {
        await prior.predict();
        step(prior);
      }
    }
    return prior;
  }

  /** Complete the layers that the picture depends on by the prior's mean. */
  private async fill(): Promise<void> {
    if (this.failure) { // the prior stopped inside a layer: walk it once more
      this.prior!.release();
      this.prior = null;
      for (const [index, chunk] of this.reader.layers.slice(0, this.count).entries()) {
        await this.read(chunk, index);
      }
    }
    await this.walk(Math.max(this.upto, this.prior!.latents.length), (prior) => prior.pushMean());
  }

  /** Draw at a scale; `shown` is what came of it. Raises CorruptError for a damaged alpha plane. */
  private async draw(scale: number): Promise<{ picture: Picture }> {
    const { header } = this, latents = this.prior!.latents, width = padded(header.width);
    this.synthesis ??= new Synthesis(this.networks, this.machine, this.pause, header.quality, width);
    const { synthesis } = this, upto = 1 + SCALE_OF.indexOf(scale);
    const picture = emptyPicture(Math.ceil(header.width / scale), Math.ceil(header.height / scale));
    const sink = (top: number, pixels: Float32Array, rows: number) =>
      put(picture, top, pixels, rows, width / scale, header.grey);
    if (this.drawn < 1) await synthesis.coarse(latents[0]);
    if (upto === 1) await synthesis.small("y1", sink);
    if (this.drawn < 2 && upto > 1) await synthesis.middle(latents[1]);
    if (upto === 2) await synthesis.small("y2", sink);
    if (upto === 3) {
      await synthesis.fine(latents[2], latents[3] ?? null, this.fittedFilter([]), sink);
    }
    this.drawn = upto;
    const alpha = await this.alphaPlane();
    if (alpha) addAlpha(picture, alpha);
    this.shown = { layers: this.count, scale, picture, alpha: alpha !== null };
    return this.shown;
  }

  /** What was drawn last, with all that the file lays over it; frames stay what they were. */
  private async completed(left: boolean, notes: string[]): Promise<Picture> {
    let { picture, alpha: transparent } = this.shown!;
    const alpha = transparent ? null : await this.alphaPlane();
    // They stand at the end: what is left unread may hold them, and pieces must not decide.
    const graphics = left ? null : await this.graphics(notes);
    if (graphics || alpha) picture = { ...picture, data: picture.data.slice() };
    if (graphics) addGraphics(picture, graphics, this.header.grey);
    if (alpha) addAlpha(picture, alpha);
    return picture;
  }

  private async alphaPlane(): Promise<Samples | null> {
    const coded = this.reader.first("a"), { width, height } = this.header;
    if (coded) this.alpha ??= readAlpha(coded, width, height);
    return this.alpha;
  }

  /** The file's lossless graphics, where all that it declares is used. */
  private async graphics(notes: string[]): Promise<Graphics | null> {
    const coded = this.reader.first("g"), { header } = this;
    if (!coded || this.count < Math.min(this.upto, header.layers) || this.failure) return null;
    if (this.reader.layers.length < header.layers) return null;
    try {
      return await readGraphics(coded, header.width, header.height, this.imageDecoder);
    } catch (error) {
      notes.push(`the picture's graphics are left out: ${(error as Error).message}`);
      return null;
    }
  }

  /** The filter that was fitted to this very picture, if there is one; a malformed one is noted. */
  private fittedFilter(notes: string[]): PictureFilter | null {
    const payload = this.reader.filter, stages = this.stages!;
    const whole = this.count === this.header.layers && stages.used(this.count) === stages.declared;
    if (!payload || !whole || this.scale > 1) return null;
    try {
      return new PictureFilter(unpackFilter(payload));
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      notes.push(`the picture's filter is left out: ${error.message}`);
      return null;
    }
  }

  /** The ICC profile. Damaged metadata is left out with a note: the picture is intact. */
  private async metadata(notes: string[]): Promise<Uint8Array | null> {
    const found: (Uint8Array | null)[] = [];
    for (const [type, name] of [["i", "ICC profile"], ["e", "EXIF"], ["x", "XMP"]]) {
      const payload = this.reader.first(type);
      try {
        found.push(payload && await inflate(payload, METADATA_LIMIT));
      } catch {
        notes.push(`${name} left out: a metadata chunk is damaged or too large`);
        found.push(null);
      }
    }
    return found[0];
  }
}

/** How many stages a file holds, and how many of them are used. */
class Stages {
  readonly declared: number;
  private ends: number[];

  /**
   * @param counts stages of the model's layers at the file's quality
   * @throws CorruptError: the file declares a number that its layers cannot hold
   */
  constructor(private counts: number[], reader: ContainerReader) {
    this.ends = counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b));
    const layers = reader.header!.layers, most = this.ends[layers - 1];
    const declared = reader.stages ?? most;
    if (!(declared > (this.ends[layers - 2] ?? 0) && declared <= most)) {
      throw new CorruptError(`the file declares ${declared} stages in ${layers} layers`);
    }
    this.declared = declared;
  }

  /** Stages used of the first n layers. */
  used(layers: number): number {
    return Math.min(this.ends[layers - 1], this.declared);
  }

  /** Whether nothing of the first n layers is filled: a missing fine stage is not. */
  whole(layers: number): boolean {
    const corrections = this.counts[layers - 1] - 1;
    return this.used(layers) >= this.ends[layers - 1] - corrections;
  }
}

/** What of a file is missing or damaged, in words. */
function arrivalNotes(reader: ContainerReader): string[] {
  const arrived = reader.layers.length, declared = reader.header!.layers;
  if (reader.damage) {
    const kept = arrived < declared ? `; ${arrived} of ${declared} layers are used` : "";
    return [`${reader.damage.message}${kept}`];
  }
  if (arrived < declared) return [`the file is cut: ${arrived} of its ${declared} layers are whole`];
  if (reader.truncated) return ["the file is cut behind its last layer: metadata is missing"];
  if (reader.appended) return [`${reader.appended} bytes behind the end of the file are ignored`];
  return [];
}
