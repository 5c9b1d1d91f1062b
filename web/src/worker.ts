/** The worker: fetches, decodes, and sends pictures. */

import { Engine } from "./engine";
import { fromMessage, ImageError, ModelError, toMessage } from "./errors";
import type { Picture } from "./picture";
import type { Samples } from "./png";
import type { FromWorker, Source, ToWorker } from "./protocol";

type Start = Extract<ToWorker, { type: "start" }>;

/** A file in work: what cancels it, and where its bytes go that come as messages, while wanted. */
interface Job {
  abort: AbortController;
  feed: ReadableStreamDefaultController<Uint8Array> | null;
}

const jobs = new Map<number, Job>();
const engines = new Map<string, Engine>();
const scope = self as unknown as {
  postMessage(message: FromWorker, transfer: Transferable[]): void;
};

const send = (message: FromWorker, transfer: Transferable[] = []) =>
  scope.postMessage(message, transfer);

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  const job = jobs.get(data.id);
  if (data.type === "start") void start(data);
  else if (data.type === "piece") job?.feed?.enqueue(data.bytes);
  else if (data.type === "cancel") {
    job?.abort.abort();
    job?.feed?.error(job.abort.signal.reason); // no more pieces come
    if (job) job.feed = null;
  } else if (data.error) job?.feed?.error(fromMessage(data.error));
  else job?.feed?.close();
};

/** Addresses that are read at a time. Browsers have six connections to a server: the weights, which
 * all wait for, need one. */
const SOURCES = 4;
let reading = 0;
const queue: (() => void)[] = [];

async function turn(signal: AbortSignal): Promise<void> {
  if (reading < SOURCES) reading++;
  else await new Promise<void>((go) => queue.push(go)); // the place of the one that leaves
  if (!signal.aborted) return;
  leave();
  signal.throwIfAborted();
}

function leave(): void {
  const next = queue.shift();
  if (next) next();
  else reading--;
}

async function start({ id, source, options, weights, ...asked }: Start): Promise<void> {
  const job: Job = { abort: new AbortController(), feed: null };
  jobs.set(id, job);
  const { signal } = job.abort;
  const address = "url" in source;
  let total: number | null = null, mine = false;
  try {
    if (address) {
      await turn(signal);
      mine = true;
    }
    const stream = await open(source, job, (size) => { total = size; });
    const image = (picture: Picture) => shown(picture, asked.bitmap);
    const result = await engineOf(weights).decode(
      pieces(stream), { ...options, sparing: asked.sparing }, {
        header: (header) => send({ type: "header", id, header }),
        bytes: (received) => send({ type: "bytes", id, received, total }),
        frame: async (frame) => {
          if (!asked.frames) return;
          const picture = await image(frame.picture);
          const { layers, scale, end } = frame;
          send({ type: "frame", id, image: picture, layers, scale, end }, transferred(picture));
        },
      }, signal,
    );
    const { picture, ...rest } = result;
    const final = await image(picture);
    send({ type: "done", id, result: rest, image: final }, transferred(final));
  } catch (error) {
    send({ type: "error", id, error: toMessage(error) });
  } finally {
    job.abort.abort(); // what is still being fetched is not wanted
    jobs.delete(id);
    if (mine) leave();
  }
}

/** The bytes of a source. Raises ImageError. */
async function open(
  source: Source, job: Job, size: (total: number | null) => void,
): Promise<ReadableStream<Uint8Array>> {
  if ("pieces" in source) {
    return new ReadableStream<Uint8Array>({
      start: (feed) => { job.feed = feed; },
      cancel: () => { job.feed = null; }, // the rest is not wanted, but may be on its way
    });
  }
  const { url } = source;
  let response: Response;
  try {
    response = await fetch(url, { signal: job.abort.signal });
  } catch (error) {
    if (job.abort.signal.aborted) throw error;
    throw new ImageError(`${url}: cannot be read (${(error as Error).message})`);
  }
  if (!response.ok || !response.body) {
    throw new ImageError(`${url}: cannot be read (${response.status} ${response.statusText})`);
  }
  const length = Number(response.headers.get("content-length"));
  size(length && !response.headers.get("content-encoding") ? length : null);
  return response.body;
}

async function* pieces(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: Error) => {
        if (error.name === "AbortError" || error instanceof ImageError) throw error;
        throw new ImageError(`the connection ended early (${error.message})`);
      });
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function engineOf(weights: string): Engine {
  let engine = engines.get(weights);
  if (!engine) engines.set(weights, engine = new Engine((name) => load(weights + name), decodeImage));
  return engine;
}

/** The bytes of a file of weights, null where there is none. Their names change with their content. */
async function load(url: string): Promise<Uint8Array | null> {
  let response: Response;
  try {
    response = await fetch(url, { cache: "force-cache" });
    // Missing before, it may have come since; what is missing still is asked for twice.
    if (!response.ok) response = await fetch(url, { cache: "reload" });
  } catch (error) {
    throw new ModelError(`${url}: cannot be read (${(error as Error).message})`);
  }
  if (response.status === 404) return null;
  if (!response.ok) throw new ModelError(`${url}: cannot be read (${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

async function shown({ data, width, height }: Picture, bitmap: boolean) {
  const image = new ImageData(data, width, height);
  return bitmap ? createImageBitmap(image) : image;
}

const transferred = (image: ImageBitmap | ImageData): Transferable[] =>
  (image instanceof ImageData ? [] : [image]);

/** An image that the browser knows, as it is stored: for lossless graphics. */
async function decodeImage(data: Uint8Array): Promise<Samples> {
  if (!readsBack()) throw new Error("this browser changes pixels that are read from a canvas");
  const bitmap = await createImageBitmap(new Blob([data as BlobPart]), {
    colorSpaceConversion: "none", premultiplyAlpha: "none",
  });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height).data;
  return { width, height, channels: 4, data: new Uint8Array(pixels.buffer) };
}

/** Whether pixels of a canvas are what was put there: some browsers add noise against tracking. */
function readsBack(): boolean {
  const context = new OffscreenCanvas(64, 4).getContext("2d")!;
  const known = new ImageData(64, 4);
  known.data.forEach((_, i) => { known.data[i] = i % 4 === 3 ? 255 : (i * 101) % 256; });
  context.putImageData(known, 0, 0);
  const found = context.getImageData(0, 0, 64, 4).data;
  return known.data.every((value, i) => value === found[i]);
}
