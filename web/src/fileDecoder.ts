/** One file → its pictures: the layers one by one, then what is missing, then what is laid over. */

import { type Chunk, type ContainerReader, type Header, padded } from "./container";
import type { Options, Result } from "./decoder";
import { CodecError, CorruptError } from "./errors";
import { unpackFilter } from "./filterCode";
import { addGraphics, type ImageDecoder, readGraphics } from "./graphics";
import { inflate } from "./inflate";
import { LayerDecoder } from "./layerDecoder";
import type { Machine } from "./machine";
import type { Networks } from "./networks";
import type { Pause } from "./pause";
import { addAlpha, emptyPicture, type Picture, put, readAlpha } from "./picture";
import { PictureFilter } from "./pictureFilter";
import type { Samples } from "./png";
import { Prior, STEPS } from "./prior";
import { arrivalNotes, Stages } from "./stages";
import { type Filters, Synthesis } from "./synthesis";

export const LAYERS = ["u", "z1", "z2"];
/** The scale of the picture that each layer completes. */
export const SCALE_OF = [4, 2, 1];
const METADATA_LIMIT = 2 ** 26;

/** A layer's data decode to nothing, or to other symbols than encoded. */
class LayerError extends CorruptError {
  constructor(readonly index: number, message: string) {
    super(message);
  }
}

/** The layers of a file one by one, then the picture. */
export class FileDecoder {
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

  /** Whether more bytes hold only what is not wanted. */
  get satisfied(): boolean {
    // Graphics stand at the end, and layers without them may be no more than a sketch.
    if (this.header.graphics && this.options.layers === undefined) return false;
    return this.stages !== null && this.count === this.wanted && this.wanted < this.header.layers;
  }

  async finish(left: boolean): Promise<Omit<Result, "scale" | "end">> {
    const { reader, header } = this, stages = this.stages!;
    const notes = left ? [] : arrivalNotes(reader), before = notes.length;
    if (this.failure) {
      const { message, index } = this.failure;
      notes.push(`${message}; ${index} of ${header.layers} layers are used`);
    }
    const filters = this.fittedFilters(notes);
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
      filtered: filters.before !== null || filters.last !== null,
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
    if (upto === this.upto) this.prior!.rest();
    if (this.drawn < 1) await synthesis.coarse(latents[0]);
    if (upto === 1) await synthesis.small("y1", sink);
    if (this.drawn < 2 && upto > 1) await synthesis.middle(latents[1]);
    if (upto === 2) await synthesis.small("y2", sink);
    if (upto === 3) {
      await synthesis.fine(latents[2], latents[3] ?? null, this.fittedFilters([]), sink);
    }
    this.drawn = upto;
    const alpha = await this.alphaPlane();
    if (alpha) addAlpha(picture, alpha, scale);
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
    if (graphics) addGraphics(picture, graphics, this.scale, this.header.grey);
    if (alpha) addAlpha(picture, alpha, this.scale);
    return picture;
  }

  private async alphaPlane(): Promise<Samples | null> {
    const coded = this.reader.first("a"), { width, height } = this.header;
    if (coded) this.alpha ??= readAlpha(coded, width, height);
    return this.alpha;
  }

  /** The file's lossless graphics, where all that it declares is used. */
  private async graphics(notes: string[]): Promise<Samples | null> {
    const coded = this.reader.graphics, { header } = this;
    if (!coded || this.count < Math.min(this.upto, header.layers) || this.failure) return null;
    if (this.reader.layers.length < header.layers) return null;
    try {
      return await readGraphics(coded, header.width, header.height, this.imageDecoder);
    } catch (error) {
      notes.push(`graphics left out: ${(error as Error).message}`);
      return null;
    }
  }

  /** The filters that were fitted to this very picture, if there are some; malformed ones are noted. */
  private fittedFilters(notes: string[]): Filters {
    const payload = this.reader.filter, stages = this.stages!;
    const whole = this.count === this.header.layers && stages.used(this.count) === stages.declared;
    const filters: Filters = { before: null, last: null };
    if (!payload || !whole || this.scale > 1) return filters;
    try {
      const { last, before } = unpackFilter(payload);
      if (before.some((plane) => plane.length)) filters.before = new PictureFilter(before);
      if (last.some((plane) => plane.length)) filters.last = new PictureFilter(last);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      notes.push(`the picture's filter is left out: ${error.message}`);
    }
    return filters;
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
