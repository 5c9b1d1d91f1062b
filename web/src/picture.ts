/** A picture of bytes, and what a file lays over the decoded one. */

import { reduced } from "./area";
import { CorruptError } from "./errors";
import { decodePng, type Samples } from "./png";

/** RGBA, row by row, not premultiplied. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

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

/** Make a picture transparent; the plane is that of one larger by `scale`. */
export function addAlpha({ data }: Picture, alpha: Samples, scale: number): void {
  const plane = scale === 1 ? alpha.data : reduced(alpha.data, alpha.width, alpha.height, scale);
  for (let i = 0; i < plane.length; i++) data[4 * i + 3] = plane[i];
}
