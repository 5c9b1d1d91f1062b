/** What page and worker say to each other. */

import type { Header } from "./container";
import type { Options, Result } from "./decoder";
import type { ErrorMessage } from "./errors";

/** A file at an address, or one whose bytes follow as messages. */
export type Source = { url: string } | { pieces: true };

export type ToWorker =
  | { type: "start"; id: number; source: Source; options: Options; weights: string;
      /** Whether bytes that are not wanted may be left where they are. */
      sparing: boolean;
      /** Kind of images, and whether any but the last are wanted. */
      bitmap: boolean; frames: boolean }
  | { type: "piece"; id: number; bytes: Uint8Array }
  | { type: "end"; id: number; error?: ErrorMessage }
  | { type: "cancel"; id: number };

export interface FrameMessage {
  type: "frame";
  id: number;
  image: ImageBitmap | ImageData;
  layers: number;
  scale: number;
  end: number;
}

export type FromWorker =
  | { type: "header"; id: number; header: Header }
  | { type: "bytes"; id: number; received: number; total: number | null }
  | FrameMessage
  | { type: "done"; id: number; result: Omit<Result, "picture">; image: ImageBitmap | ImageData }
  | { type: "error"; id: number; error: ErrorMessage };
