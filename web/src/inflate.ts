/** zlib streams, unpacked by what every browser has. */

/**
 * Unpack a whole zlib stream.
 *
 * @param limit the most bytes it may give
 * @throws Error: it is damaged, cut, or gives more
 */
export async function inflate(packed: Uint8Array, limit = Infinity): Promise<Uint8Array> {
  const stream = new Blob([packed as BlobPart]).stream()
    .pipeThrough(new DecompressionStream("deflate"));
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (const reader = stream.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      throw new Error("it is too large");
    }
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
