/** What of a file is there: stages of its layers, and words for what is missing. */

import type { ContainerReader } from "./container";
import { CorruptError } from "./errors";

/** How many stages a file holds, and how many of them are used. */
export class Stages {
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
export function arrivalNotes(reader: ContainerReader): string[] {
  const arrived = reader.layers.length, declared = reader.header!.layers;
  if (reader.damage) {
    const kept = arrived < declared ? `; ${arrived} of ${declared} layers are used` : "";
    return [`${reader.damage.message}${kept}`];
  }
  if (arrived < declared) return [`the file is cut: ${arrived} of its ${declared} layers are whole`];
  if (reader.truncated) return ["the file is cut after its last layer: graphics or metadata are missing"];
  if (reader.appended) return [`${reader.appended} bytes after the end of the file are ignored`];
  return [];
}
