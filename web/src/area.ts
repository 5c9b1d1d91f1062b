/**
 * Reduce a plane: each value of the result is the mean, halves up, of the scale × scale values (fewer
 * at the right and lower edges) that it stands for.
 *
 * @param plane height × width whole numbers
 */
export function reduced(
  plane: ArrayLike<number>, width: number, height: number, scale: number,
): Uint8ClampedArray {
  const newWidth = Math.ceil(width / scale), newHeight = Math.ceil(height / scale);
  const out = new Uint8ClampedArray(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    const bottom = Math.min(height, (y + 1) * scale);
    for (let x = 0; x < newWidth; x++) {
      const right = Math.min(width, (x + 1) * scale);
      let sum = 0;
      for (let r = y * scale; r < bottom; r++) {
        for (let c = x * scale; c < right; c++) sum += plane[r * width + c];
      }
      const count = (bottom - y * scale) * (right - x * scale);
      out[y * newWidth + x] = Math.floor((2 * sum + count) / (2 * count));
    }
  }
  return out;
}
