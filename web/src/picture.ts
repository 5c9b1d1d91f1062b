/** A picture of bytes, and what a file lays over the decoded one. */

import { reduced } from "./area";
import { CorruptError } from "./errors";
import { decodePng, isPng, type Samples } from "./png";
import { webpSize } from "./webp";

/** RGBA, row by row, not premultiplied. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** Decodes what is no PNG (a lossless WebP): RGBA. Rejects where it cannot. */
export type ImageDecoder = (data: Uint8Array) => Promise<Samples>;

export const emptyPicture = (width: number, height: number): Picture => ({
  width, height, data: new Uint8ClampedArray(4 * width * height),
});

/**
 * Round rows of pixels into a picture, cropped to its size.
 *
 * @param pixels rows × width × 3 around [0, 1]
 */
export function put(
  picture: Picture, top: number, pixels: Float32Array, rows: number, width: number, grey: boolean,
): void {
  const { data } = picture, end = Math.min(picture.height, top + rows);
  for (let row = top, line = 0; row < end; row++, line += 3 * width) {
    // A clamped array rounds half to even, as the format wants it.
    for (let i = 0, from = line, to = 4 * row * picture.width; i < picture.width; i++) {
      data[to] = 255 * pixels[from++];
      data[to + 1] = 255 * pixels[from++];
      data[to + 2] = 255 * pixels[from++];
      data[to + 3] = 255;
      if (grey) {
        const mean = (data[to] + data[to + 1] + data[to + 2]) / 3;
        data[to] = data[to + 1] = data[to + 2] = mean;
      }
      to += 4;
    }
  }
}

/**
 * The alpha plane of a file.
 *
 * @throws CorruptError: it is damaged, and without it the picture would be another
 */
export async function readAlpha(coded: Uint8Array, width: number, height: number): Promise<Samples> {
  try {
    const alpha = await decodePng(coded, width, height);
    if (alpha.channels !== 1) throw new Error("it has colours");
    return alpha;
  } catch (error) {
    const { message } = error as Error;
    throw new CorruptError(message === "it has another size"
      ? "the alpha plane has another size than the image"
      : `the alpha plane is damaged (${message})`);
  }
}

/** Make a picture transparent; the plane of a larger one is reduced by area averaging. */
export function addAlpha({ width, height, data }: Picture, alpha: Samples): void {
  const plane = alpha.width === width && alpha.height === height
    ? alpha.data : reduced(alpha.data, alpha.width, alpha.height, width, height, true);
  for (let i = 0; i < plane.length; i++) data[4 * i + 3] = plane[i];
}

/**
 * The lossless graphics of a file (chunk `g`): RGB replaces the picture, RGBA where its alpha is 255.
 *
 * @throws Error: they cannot be decoded
 */
export async function readGraphics(
  coded: Uint8Array, width: number, height: number, decoder: ImageDecoder | null,
): Promise<Samples> {
  if (isPng(coded)) {
    const samples = await decodePng(coded, width, height);
    if (samples.channels < 3) throw new Error("it has no colours");
    return samples;
  }
  const declared = webpSize(coded);
  if (declared.width !== width || declared.height !== height) throw new Error("it has another size");
  if (!decoder) throw new Error("this environment decodes no WebP");
  const samples = await decoder(coded);
  if (samples.width !== width || samples.height !== height) throw new Error("it has another size");
  return samples;
}

/** Lay graphics over a picture; for a smaller one they are averaged, weighted by their mask. */
export function addGraphics(picture: Picture, graphics: Samples, grey: boolean): void {
  const { width, height, data } = picture, { channels, data: from } = graphics;
  const count = graphics.width * graphics.height;
  const shown = (i: number) => channels !== 4 || from[4 * i + 3] === 255;
  const sample = (i: number, c: number) => from[channels * i + c];
  if (graphics.width === width && graphics.height === height) {
    for (let i = 0; i < count; i++) {
      if (shown(i)) for (let c = 0; c < 3; c++) data[4 * i + c] = sample(i, c);
    }
    return;
  }
  const plane = new Float32Array(count);
  const average = (value: (i: number) => number) => {
    for (let i = 0; i < count; i++) plane[i] = shown(i) ? value(i) : 0;
    return reduced(plane, graphics.width, graphics.height, width, height, false);
  };
  const mask = average(() => 1);
  for (let c = 0; c < 3; c++) {
    const sum = average((i) => sample(i, grey ? 0 : c));
    for (let i = 0; i < sum.length; i++) {
      data[4 * i + c] = sum[i] + (1 - mask[i]) * data[4 * i + c];
    }
  }
}
