/** Area averaging, as Pillow's `resize` with its box filter does it. */

/** For each place of the result, where its sources begin and how many there are. */
function windows(from: number, to: number): [first: number, count: number][] {
  const scale = from / to, support = scale / 2;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const low = Math.max(0, Math.floor(centre - support + 0.5));
    const high = Math.min(from, Math.floor(centre + support + 0.5));
    let first = low, count = 0;
    for (let k = low; k < high; k++) {
      const distance = (k - centre + 0.5) / scale;
      if (distance > -0.5 && distance <= 0.5) count++;
      else if (!count) first++;
    }
    return [first, count];
  });
}

/**
 * Reduce one plane.
 *
 * @param plane height × width whole numbers, as the results are, after the columns and after the rows
 */
export function reduced(
  plane: ArrayLike<number>, width: number, height: number, newWidth: number, newHeight: number,
): Float32Array {
  const finish = (x: number) => Math.floor(x + 0.5);
  const narrow = new Float32Array(height * newWidth);
  windows(width, newWidth).forEach(([first, count], k) => {
    for (let r = 0; r < height; r++) {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += plane[r * width + first + i];
      narrow[r * newWidth + k] = finish(sum / count);
    }
  });
  const out = new Float32Array(newHeight * newWidth);
  windows(height, newHeight).forEach(([first, count], r) => {
    for (let k = 0; k < newWidth; k++) {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += narrow[(first + i) * newWidth + k];
      out[r * newWidth + k] = finish(sum / count);
    }
  });
  return out;
}
