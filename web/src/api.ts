/** `decode`: files in, pictures out; a worker does the work. */

import { type Chunk, ContainerReader, type Header } from "./container";
import { checkOptions, MAX_PIXELS, type Options, type Result } from "./decoder";
import { ArgumentError, CodecError, fromMessage, ModelError, toMessage } from "./errors";
import type { FromWorker, ToWorker } from "./protocol";

/** The picture as far as the bytes go. */
export interface ShownFrame {
  image: ImageBitmap | ImageData;
  /** Layers of the file in it. */
  layers: number;
  /** The original's size is divided by this, rounded up. */
  scale: number;
  /** So many leading bytes were enough for it. */
  end: number;
}

/** What a file came to; `image` in place of the bytes of {@link Result}. */
export type Decoded = Omit<Result, "picture"> & { image: ImageBitmap | ImageData };

export interface DecodeOptions extends Options {
  /** The picture of each layer as soon as it is drawn. Bitmaps are yours: close them. */
  onFrame?: (frame: ShownFrame) => void;
  /** Size, quality and number of layers, as soon as they are known. */
  onHeader?: (header: Header) => void;
  /** Bytes so far, and in all where that is known. */
  onBytes?: (received: number, total: number | null) => void;
  signal?: AbortSignal;
  /** Where the weights lie; default: the folder `weights` beside this module. */
  weights?: string | URL;
  /** Kind of images: `ImageBitmap` (default) or `ImageData`. */
  output?: "bitmap" | "data";
}

export type DecodeSource =
  ReadableStream<Uint8Array> | Blob | Uint8Array | ArrayBuffer | URL | string;

/**
 * Decode a .cci file, whole or cut anywhere after its first layer.
 *
 * With `layers` or a smaller `scale`, an address or a stream is read as far as these layers go; what
 * stands behind them (lossless graphics) is used where the bytes are given.
 *
 * @param source an address, bytes, a file, or a stream of bytes
 * @returns the picture of all bytes, what is missing filled by the mean of the prior
 * @throws CodecError (see `errors.ts`), or AbortError where `signal` says so
 */
export async function decode(source: DecodeSource, options: DecodeOptions = {}): Promise<Decoded> {
  const { layers, scale, maxPixels, signal, weights, output } = options;
  checkOptions({ layers, scale });
  signal?.throwIfAborted();
  const folder = absolute(weights ?? "./weights", weights ? document.baseURI : import.meta.url);
  const url = typeof source === "string" || source instanceof URL
    ? absolute(source, document.baseURI) : null;
  const job = open(options);
  const stop = () => job.cancel(signal!.reason);
  signal?.addEventListener("abort", stop, { once: true });
  job.send({
    type: "start", id: job.id, options: { layers, scale, maxPixels },
    weights: folder.endsWith("/") ? folder : `${folder}/`, bitmap: output !== "data",
    frames: Boolean(options.onFrame), sparing: url !== null || source instanceof ReadableStream,
    source: url === null ? { pieces: true } : { url },
  });
  if (url === null) void feed(job, source as Exclude<DecodeSource, string | URL>);
  try {
    return await job.result;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function absolute(address: string | URL, base: string): string {
  try {
    return new URL(address, base).href;
  } catch {
    throw new ArgumentError(`${address}: is no address`);
  }
}

/** One layer of a file: its bytes, and how many leading bytes of the file suffice for it. */
export interface LayerInfo {
  name: string;
  bytes: number;
  end: number;
}

export interface FileInfo extends Header {
  layerInfo: LayerInfo[];
  bytes: number;
}

/** Describe a file without decoding it. Raises CodecError. */
export function info(data: Uint8Array, maxPixels = MAX_PIXELS): FileInfo {
  const reader = new ContainerReader(maxPixels), layers: Chunk[] = [];
  for (const chunk of reader.push(data)) if (chunk.type === "L") layers.push(chunk);
  reader.finish();
  return {
    ...reader.header!,
    layerInfo: reader.layers.map(({ payload, end }, i) => (
      { name: ["u", "z1", "z2"][i] ?? `layer${i}`, bytes: payload.length, end })),
    bytes: data.length,
  };
}

interface Job {
  id: number;
  options: DecodeOptions;
  result: Promise<Decoded>;
  send(message: ToWorker, transfer?: Transferable[]): void;
  cancel(reason: unknown): void;
  settle: { resolve(result: Decoded): void; reject(error: unknown): void };
}

const jobs = new Map<number, Job>();
let worker: Worker | null = null;
let count = 0;

/** A job of the worker, which is started with the first. */
function open(options: DecodeOptions): Job {
  const id = ++count, { promise, resolve, reject } = promised<Decoded>();
  const mine = worker ??= started();
  const end = () => { jobs.delete(id); };
  const job: Job = {
    id, options, result: promise,
    send: (message, transfer = []) => mine.postMessage(message, transfer),
    cancel: (reason) => {
      if (!jobs.has(id)) return;
      mine.postMessage({ type: "cancel", id } satisfies ToWorker);
      job.settle.reject(reason);
    },
    settle: {
      resolve: (result) => { end(); resolve(result); },
      reject: (error) => { end(); reject(error); },
    },
  };
  jobs.set(id, job);
  return job;
}

function promised<T>() {
  let resolve!: (value: T) => void, reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => { resolve = yes; reject = no; });
  return { promise, resolve, reject };
}

function started(): Worker {
  const one = new Worker(new URL("./cci-worker.js", import.meta.url), { type: "module" });
  one.onmessage = ({ data }: MessageEvent<FromWorker>) => hear(data);
  one.onerror = (event) => {
    worker = null;
    one.terminate();
    const reason = event.message || "its script could not be loaded";
    for (const job of [...jobs.values()]) {
      job.settle.reject(new ModelError(`the decoder's worker stopped (${reason})`));
    }
  };
  return one;
}

function hear(message: FromWorker): void {
  const job = jobs.get(message.id);
  if (!job) { // nobody waits any more
    if ("image" in message && message.image instanceof ImageBitmap) message.image.close();
    return;
  }
  const { options, settle } = job;
  try {
    switch (message.type) {
      case "header": return options.onHeader?.(message.header);
      case "bytes": return options.onBytes?.(message.received, message.total);
      case "frame": {
        const { image, layers, scale, end } = message;
        return options.onFrame?.({ image, layers, scale, end });
      }
      case "done": return settle.resolve({ ...message.result, image: message.image });
      case "error": return settle.reject(fromMessage(message.error));
    }
  } catch (error) { // of a listener
    job.cancel(error);
  }
}

/** Pass bytes on to the worker. */
async function feed(job: Job, source: Exclude<DecodeSource, string | URL>): Promise<void> {
  const { id } = job;
  try {
    const stream = source instanceof Blob ? source.stream() : source;
    if (stream instanceof ReadableStream) {
      const reader = stream.getReader();
      job.result.catch(() => reader.cancel().catch(() => {}));
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        if (!jobs.has(id)) {
          await reader.cancel();
          return;
        }
        job.send({ type: "piece", id, bytes: piece.value });
      }
    } else {
      if (!(stream instanceof Uint8Array || stream instanceof ArrayBuffer)) {
        throw new ArgumentError("a file is bytes, a stream or an address");
      }
      job.send({ type: "piece", id, bytes: new Uint8Array(stream) }); // the caller keeps them
    }
    job.send({ type: "end", id });
  } catch (error) {
    if (error instanceof CodecError) job.cancel(error);
    else job.send({ type: "end", id, error: toMessage(error) });
  }
}
