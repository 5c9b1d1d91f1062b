/** The size that a lossless WebP declares, known before the browser unpacks it. */

const text = (data: Uint8Array, at: number) => String.fromCharCode(...data.subarray(at, at + 4));

/** Raises Error where the data are no lossless WebP. */
export function webpSize(data: Uint8Array): { width: number; height: number } {
  const bits = (at: number, count: number) => {
    let value = 0;
    for (let i = 0; i < count; i++) value += ((data[at + (i >> 3)] >> (i & 7)) & 1) * 2 ** i;
    return value;
  };
  const found = data.length > 30 && text(data, 0) === "RIFF" && text(data, 8) === "WEBP"
    ? text(data, 12) : "";
  if (found === "VP8X") return { width: 1 + bits(24, 24), height: 1 + bits(27, 24) };
  if (found !== "VP8L" || data[20] !== 0x2f) throw new Error("it is no lossless WebP");
  const sizes = bits(21, 28);
  return { width: 1 + (sizes % 2 ** 14), height: 1 + Math.floor(sizes / 2 ** 14) };
}
