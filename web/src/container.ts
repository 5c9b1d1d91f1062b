/**
 * The .cci container (docs/format.md, sections 1 and 2): a 24-byte header, then chunks.
 *
 * {@link ContainerReader} takes bytes piece by piece and gives chunks as they become whole.
 */

import { crc32 } from "./crc32";
import {
  CorruptError, FormatError, LimitError, NotACodecFileError, TruncatedError, UnsupportedFileError,
} from "./errors";

const MAGIC = [0x8f, 0x43, 0x43, 0x49];
const VERSION = 2;
export const HEADER_BYTES = 24;
const MAX_QUALITY = 100;
const MAX_SIDE = 2 ** 24;
export const SIZE_MULTIPLE = 64;
/** L layer, i ICC, e EXIF, x XMP, a alpha, S stages, f fitted filter, g lossless graphics. */
const KNOWN = "LiexaSfg";

const FLAG_GREY = 1;
/** A chunk of graphics follows the layers: without it a file that ends there is cut. */
const FLAG_GRAPHICS = 8;
/** Flags 1 and 2 hold quarter steps of quality. */
const QUARTERS = 6;

export const padded = (side: number) => Math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE;

export interface Header {
  modelId: number;
  /** Eight hexadecimal digits. */
  fingerprint: string;
  width: number;
  height: number;
  /** 0 … 100 in steps of 1/4. */
  quality: number;
  /** Layers written. */
  layers: number;
  grey: boolean;
  /** Whether a chunk of graphics follows the layers. */
  graphics: boolean;
}

/** `end` is the offset in the file just behind the chunk. */
export interface Chunk {
  type: string;
  payload: Uint8Array;
  end: number;
}

const isLetter = (byte: number) => (byte | 32) >= 97 && (byte | 32) <= 122;
const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/**
 * Parse and check the first 24 bytes.
 *
 * @param data what there is of the file
 * @param maxPixels refuse more, sides rounded up to multiples of 64
 * @throws NotACodecFileError, TruncatedError, CorruptError, UnsupportedFileError, LimitError
 */
export function parseHeader(data: Uint8Array, maxPixels: number): Header {
  if (!data.length) throw new NotACodecFileError("the file is empty");
  if (!startsLikeOurs(data)) {
    throw new NotACodecFileError("this is not a .cci file (its first bytes are others)");
  }
  if (data.length < HEADER_BYTES) {
    throw new TruncatedError(`the file ends inside its header, after ${data.length} bytes`);
  }
  if (data[4] !== VERSION) {
    const way = data[4] < VERSION
      ? "decode it with release 0.1 and encode the picture anew" : "a newer one is needed";
    throw new UnsupportedFileError(
      `the file has format version ${data[4]}; this program reads version ${VERSION}: ${way}`,
    );
  }
  const head = view(data);
  if (head.getUint32(20, true) !== crc32(data.subarray(0, 20))) {
    throw new CorruptError("the header is damaged (its checksum does not match)");
  }
  const width = head.getUint32(10, true), height = head.getUint32(14, true);
  const flags = data[19] >> 4, layers = data[19] & 15;
  const quality = data[18] + ((flags & QUARTERS) >> 1) / 4;
  if (!(width > 0 && width <= MAX_SIDE && height > 0 && height <= MAX_SIDE)) {
    throw new FormatError(`the header declares an impossible size of ${width}×${height} pixels`);
  }
  if (quality > MAX_QUALITY || layers < 1) {
    throw new FormatError(`the header declares quality ${quality} and ${layers} layers`);
  }
  if (padded(width) * padded(height) > maxPixels) {
    throw new LimitError(
      `the file declares ${width}×${height} pixels, more than the limit of ${maxPixels} ` +
      "(sides rounded up to multiples of 64); raise it with maxPixels if you trust the file",
    );
  }
  const fingerprint = [...data.subarray(6, 10)].map((b) => b.toString(16).padStart(2, "0")).join("");
  return {
    modelId: data[5], fingerprint, width, height, quality, layers, grey: Boolean(flags & FLAG_GREY),
    graphics: Boolean(flags & FLAG_GRAPHICS),
  };
}

const startsLikeOurs = (data: Uint8Array) => MAGIC.every((byte, i) => (data[i] ?? byte) === byte);

/** A file as far as it has arrived. */
export class ContainerReader {
  header: Header | null = null;
  /** The whole chunks of known types so far. */
  chunks: Chunk[] = [];
  damage: CorruptError | null = null;
  /** Whether something is missing; known after {@link finish}. */
  truncated = false;
  /** Bytes behind a complete file that are no part of it; known after {@link finish}. */
  appended = 0;
  /** Bytes so far. */
  received = 0;

  private data = new Uint8Array(1 << 16);
  private end = HEADER_BYTES;

  constructor(private maxPixels: number) {}

  /** Layer chunks, coarse to fine, at most as many as the header declares. */
  get layers(): Chunk[] {
    return this.chunks.filter((chunk) => chunk.type === "L").slice(0, this.header!.layers);
  }

  /** Stages in all layers, where the file says so before its layers. */
  get stages(): number | null {
    const chunk = this.chunks.find(({ type }) => type === "S" || type === "L");
    if (chunk?.type !== "S") return null;
    if (chunk.payload.length !== 1) throw new CorruptError("the number of stages is damaged");
    return chunk.payload[0];
  }

  /** Payload of the fitted filter, if one stands before the last layer of a whole file. */
  get filter(): Uint8Array | null {
    let layers = 0, found: Uint8Array | null = null;
    for (const { type, payload } of this.chunks) {
      if (type === "f") found ??= payload;
      if (type === "L" && ++layers === this.header!.layers) return found;
    }
    return null;
  }

  /** Payload of the first graphics behind the last layer that the header declares. */
  get graphics(): Uint8Array | null {
    const last = this.header!.layers;
    const behind = this.chunks.indexOf(this.layers[last - 1]);
    if (behind < 0) return null;
    return this.chunks.slice(behind).find(({ type }) => type === "g")?.payload ?? null;
  }

  first(type: string): Uint8Array | null {
    return this.chunks.find((chunk) => chunk.type === type)?.payload ?? null;
  }

  /**
   * Take more bytes; iterate over the chunks of known types that they complete.
   *
   * @throws FormatError, LimitError as early as the bytes allow; damage behind the first layer ends
   *     the file instead
   */
  *push(piece: Uint8Array): Generator<Chunk> {
    this.append(piece);
    const all = this.data.subarray(0, this.received);
    if (!this.header) {
      if (all.length < HEADER_BYTES && startsLikeOurs(all)) return;
      this.header = parseHeader(all.subarray(0, HEADER_BYTES), this.maxPixels);
    }
    while (!this.damage) {
      let chunk: Chunk | null;
      try {
        chunk = nextChunk(this.data.subarray(0, this.received), this.end);
      } catch (error) {
        if (!(error instanceof CorruptError) || !this.layers.length) throw error;
        this.damage = error;
        return;
      }
      if (!chunk) return;
      this.end = chunk.end;
      if (KNOWN.includes(chunk.type)) {
        this.chunks.push(chunk);
        yield chunk;
      }
    }
  }

  /**
   * No more bytes will come: judge what stands behind the last chunk.
   *
   * @throws TruncatedError where not even the first layer is whole
   */
  finish(): void {
    this.header ??= parseHeader(this.data.subarray(0, this.received), this.maxPixels);
    const found = this.layers.length;
    if (!found) {
      throw new TruncatedError(
        `the file ends after ${this.received} bytes, before its first layer is complete`,
      );
    }
    const missing = found < this.header.layers;
    if (this.end < this.received && !missing) {
      const first = this.data[this.end];
      const known = KNOWN.includes(String.fromCharCode(first));
      if (!isLetter(first) || (!known && !this.damage)) {
        this.appended = this.received - this.end;
        this.damage = null;
      }
    }
    const lost = this.header.graphics && !this.graphics;
    this.truncated = missing || lost || this.end + this.appended < this.received;
  }

  private append(piece: Uint8Array): void {
    const size = this.received + piece.length;
    if (size > this.data.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.data.length));
      larger.set(this.data.subarray(0, this.received));
      this.data = larger;
    }
    this.data.set(piece, this.received);
    this.received = size;
  }
}

/** The chunk at `offset`, or null where it is not there whole. Raises as {@link ContainerReader}. */
function nextChunk(data: Uint8Array, offset: number): Chunk | null {
  if (offset >= data.length) return null;
  if (!isLetter(data[offset])) {
    throw new CorruptError(`no chunk starts at byte ${offset}: the file is damaged there`);
  }
  const type = String.fromCharCode(data[offset]);
  const length = readLength(data, offset + 1);
  if (!length) return null;
  const end = length.next + 4 + length.value;
  if (end > data.length) return null;
  const payload = data.slice(length.next + 4, end);
  const crc = crc32(payload, crc32(data.subarray(offset, length.next)));
  if (view(data).getUint32(length.next, true) !== crc) {
    throw new CorruptError(`the chunk at byte ${offset} is damaged (checksum mismatch)`);
  }
  if (type < "a" && !KNOWN.includes(type)) {
    throw new UnsupportedFileError(
      `the file contains a chunk of type '${type}' that is needed to decode it and that this ` +
      "version does not know: a newer one is needed",
    );
  }
  return { type, payload, end };
}

/** Unsigned LEB128: its value and the next offset, or null where the data ends inside it. */
function readLength(data: Uint8Array, offset: number): { value: number; next: number } | null {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    if (offset + i >= data.length) return null;
    const byte = data[offset + i];
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return { value, next: offset + i + 1 };
  }
  throw new CorruptError(`the chunk length at byte ${offset} is damaged`);
}
