/** The symbols of one layer's payload (docs/format.md, section 3). */

import { crc32 } from "./crc32";
import { CorruptError } from "./errors";
import { type Machine, Room } from "./machine";
import type { Networks } from "./networks";
import type { Prior } from "./prior";

const CHECKSUM_BYTES = 2;
const SCALES = 64;
/** Symbols that are worked on at once for the checksum of 32-bit numbers. */
const PART = 1 << 14;

export class LayerDecoder {
  /** CRC-32 of the symbols so far as little-endian int32. */
  checksum = 0;

  private room: Room;
  private expected = 0;
  private crc = 0;
  /** A layer without any payload: all its symbols are zero. */
  private empty: boolean;

  /** Raises CorruptError for a payload that cannot hold a layer. One layer is decoded at a time. */
  constructor(private machine: Machine, private networks: Networks, payload: Uint8Array) {
    this.empty = payload.length === 0;
    this.room = new Room(machine);
    if (this.empty) return;
    if (payload.length < CHECKSUM_BYTES) {
      throw new CorruptError("a layer is too short to hold its checksum");
    }
    this.expected = payload[0] | (payload[1] << 8);
    const words = payload.subarray(CHECKSUM_BYTES), bytes = Math.ceil(words.length / 4) * 4;
    const at = this.room.zeros(bytes);
    machine.u8(at, words.length).set(words);
    machine.kernels.beginLayer(at, bytes);
  }

  /** Decode the symbols of the step that the prior predicted. Raises CorruptError. */
  decode(prior: Prior): void {
    const { count, indices, symbols } = prior;
    if (this.empty) this.machine.u8(symbols, 2 * count).fill(0);
    else this.read(prior, count, indices, symbols);
    this.crc = crc32(this.machine.u8(symbols, 2 * count), this.crc);
    for (let i = 0; i < count; i += PART) {
      const part = Int32Array.from(this.machine.i16(symbols + 2 * i, Math.min(PART, count - i)));
      this.checksum = crc32(new Uint8Array(part.buffer), this.checksum);
    }
  }

  private read(prior: Prior, count: number, indices: number, symbols: number): void {
    const order = this.room.take(4 * count), starts = this.room.take(4 * (SCALES + 1));
    const answer = this.machine.kernels.decodeStep(
      count, indices, symbols, order, starts,
      this.networks.tables(prior.latents.length), this.networks.weights.header.skip_index,
    );
    this.room.give(order);
    this.room.give(starts);
    if (answer === 1) {
      throw new CorruptError(
        "a layer's data cannot be decoded (Tried to decode from compressed data that is invalid " +
        "for the employed entropy model.)",
      );
    }
    if (answer === 2) throw new CorruptError("a layer contains an impossible symbol");
  }

  /** Raises CorruptError unless the symbols are those that were encoded. */
  finish(): void {
    if (!this.empty && (this.crc & 0xffff) !== this.expected) {
      throw new CorruptError("a layer decoded to other symbols than were encoded");
    }
  }

  release(): void {
    this.room.clear();
  }
}
