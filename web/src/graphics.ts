/** Lossless graphics (chunk `g`, docs/format.md, section 3): what they may be, and laying them over. */

import type { Picture } from "./picture";
import { decodePng, isPng, type Samples } from "./png";

/** Decodes what is no PNG (a lossless WebP): RGBA. Rejects where it cannot. */
export type ImageDecoder = (data: Uint8Array) => Promise<Samples>;

interface Head {
  width: number;
  height: number;
  alpha: boolean;
}

const text = (data: Uint8Array, at: number) => String.fromCharCode(...data.subarray(at, at + 4));
const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** What a RIFF file of one `VP8L` chunk and nothing else declares. Raises Error for any other. */
function webpHead(data: Uint8Array): Head {
  if (data.length < 25) throw new Error("the WebP is too short");
  const head = view(data), size = head.getUint32(16, true), bits = head.getUint32(21, true);
  const plain = text(data, 0) === "RIFF" && text(data, 8) === "WEBP" && text(data, 12) === "VP8L";
  if (!plain || data[20] !== 0x2f || bits >>> 29) {
    throw new Error("the WebP is not a plain lossless one");
  }
  if (head.getUint32(4, true) !== data.length - 8 || size + (size % 2) !== data.length - 20) {
    throw new Error("the WebP has another length than it says");
  }
  return {
    width: 1 + (bits & 16383), height: 1 + ((bits >>> 14) & 16383), alpha: Boolean((bits >>> 28) & 1),
  };
}

/** The same of a PNG: one IHDR, one or more IDAT, one IEND; 8 bits, RGB or RGBA, not interlaced. */
function pngHead(data: Uint8Array): Head {
  const head = view(data), types: string[] = [];
  let at = 8;
  for (; at + 12 <= data.length; at += 12 + head.getUint32(at)) types.push(text(data, at + 4));
  const parts = types.slice(1, -1);
  const whole = at === data.length && types[0] === "IHDR" && types.at(-1) === "IEND";
  if (!whole || !parts.length || parts.some((type) => type !== "IDAT")) {
    throw new Error("the PNG is not a plain one");
  }
  const [depth, colour, ...rest] = data.subarray(24, 29);
  if (depth !== 8 || (colour !== 2 && colour !== 6) || rest.some(Boolean)) {
    throw new Error("the PNG is not a plain one");
  }
  return { width: head.getUint32(16), height: head.getUint32(20), alpha: colour === 6 };
}

/**
 * The lossless graphics of a file: RGB replaces the picture, RGBA where its alpha is 255.
 *
 * @throws Error: they cannot be decoded, or not to what was stored
 */
export async function readGraphics(
  coded: Uint8Array, width: number, height: number, decoder: ImageDecoder | null,
): Promise<Samples> {
  const png = isPng(coded);
  const fits = (size: { width: number; height: number }) => {
    if (size.width !== width || size.height !== height) throw new Error("of another size than the image");
  };
  const head = await undamaged(() => (png ? pngHead(coded) : webpHead(coded)));
  fits(head);
  if (!png && !decoder) throw new Error("this environment decodes no WebP");
  const samples = await undamaged(() => (png ? decodePng(coded, width, height) : decoder!(coded)));
  fits(samples);
  checkAlpha(samples, head.alpha);
  return samples;
}

async function undamaged<T>(read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new Error(`damaged (${(error as Error).message})`);
  }
}

/** Alpha is 255 or 0, and always 255 where none is declared. */
function checkAlpha({ channels, data }: Samples, declared: boolean): void {
  if (channels !== 4) return;
  for (let i = 3; i < data.length; i += 4) {
    if (data[i] !== 255 && (!declared || data[i])) throw new Error("damaged (half-transparent pixels)");
  }
}

/**
 * Lay graphics over a picture. In a smaller one a pixel is the mean of the scale × scale pixels
 * (fewer at the edges) that it stands for, those outside the mask being the decoded one.
 */
export function addGraphics(
  picture: Picture, graphics: Samples, scale: number, grey: boolean,
): void {
  const { width, height, data } = picture, { channels, data: from } = graphics;
  const mean = (sum: number, kept: number, pixel: number, n: number) =>
    Math.floor((2 * (sum + kept * pixel) + n) / (2 * n));
  for (let row = 0; row < height; row++) {
    const bottom = Math.min(graphics.height, scale * (row + 1));
    for (let column = 0; column < width; column++) {
      const right = Math.min(graphics.width, scale * (column + 1));
      const n = (bottom - scale * row) * (right - scale * column);
      let kept = n, red = 0, green = 0, blue = 0;
      for (let y = scale * row; y < bottom; y++) {
        for (let x = scale * column; x < right; x++) {
          const at = channels * (y * graphics.width + x);
          if (channels === 4 && from[at + 3] !== 255) continue;
          kept--;
          red += from[at];
          green += from[at + 1];
          blue += from[at + 2];
        }
      }
      const to = 4 * (row * width + column);
      data[to] = mean(red, kept, data[to], n);
      data[to + 1] = mean(green, kept, data[to + 1], n);
      data[to + 2] = mean(blue, kept, data[to + 2], n);
      if (grey) data[to] = data[to + 1] = data[to + 2] = (data[to] + data[to + 1] + data[to + 2]) / 3;
    }
  }
}
