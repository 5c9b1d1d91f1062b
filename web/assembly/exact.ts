// Exact arithmetic (docs/format.md, section 5): whole numbers in float64.
//
// Every sum of products stays below 2^53, so each partial sum is exact in any order. Rows are
// positions × channels; all channel counts are multiples of 8, and all pointers multiples of 16.

const LIMIT: f64 = 8388607.0; // 2^23 − 1

/** What becomes of a sum of products; see {@link pointwise64}. */
const LEAKY = 1;
const RESIDUAL = 2;

// @ts-ignore: decorator
@inline
function clamped(x: v128): v128 {
  return f64x2.pmax(f64x2.pmin(x, f64x2.splat(LIMIT)), f64x2.splat(-LIMIT));
}

/** Units of 2^-22 → units of 2^-10: floor(sum · 2^-12 + 1/2), clamped. */
// @ts-ignore: decorator
@inline
function rescaled(sum: v128): v128 {
  const scaled = f64x2.mul(sum, f64x2.splat(1.0 / 4096.0));
  return clamped(f64x2.floor(f64x2.add(scaled, f64x2.splat(0.5))));
}

// @ts-ignore: decorator
@inline
function leaky(x: v128): v128 {
  return f64x2.pmax(x, f64x2.floor(f64x2.mul(x, f64x2.splat(0.125))));
}

// @ts-ignore: decorator
@inline
function product(sum: v128, a: v128, b: v128): v128 {
  return f64x2.add(sum, f64x2.mul(a, b));
}

// @ts-ignore: decorator
@inline
function finish(out: usize, a: v128, b: v128, mode: i32): void {
  a = rescaled(a);
  b = rescaled(b);
  if (mode & RESIDUAL) {
    a = clamped(f64x2.add(v128.load(out), a));
    b = clamped(f64x2.add(v128.load(out, 16), b));
  }
  if (mode & LEAKY) {
    a = leaky(a);
    b = leaky(b);
  }
  v128.store(out, a);
  v128.store(out, b, 16);
}

/**
 * Matrix product over channels plus bias, rescaled.
 *
 * @param x n positions of `cin` float64, `xStep` bytes apart
 * @param w weights in panels of four outputs: cout/4 × cin × 4
 * @param out n positions of `cout`, `outStep` bytes apart
 * @param mode 1: leaky ReLU follows; 2: added to what `out` holds, clamped; 3: both, in this order
 */
export function pointwise64(
  x: usize, xStep: usize, n: i32, cin: i32,
  w: usize, bias: usize, cout: i32, out: usize, outStep: usize, mode: i32,
): void {
  const panel = <usize>cin << 5;
  for (let o = 0; o < cout; o += 4) {
    const bias0 = v128.load(bias);
    const bias1 = v128.load(bias, 16);
    const end = w + panel;
    let from = x, to = out, p = 0;
    for (; p + 4 <= n; p += 4) {
      let a0 = bias0, a1 = bias0, a2 = bias0, a3 = bias0;
      let b0 = bias1, b1 = bias1, b2 = bias1, b3 = bias1;
      let x0 = from, x1 = x0 + xStep, x2 = x1 + xStep, x3 = x2 + xStep;
      for (let at = w; at < end; at += 64) {
        let w0 = v128.load(at), w1 = v128.load(at, 16);
        let s = v128.load64_splat(x0);
        a0 = product(a0, s, w0);
        b0 = product(b0, s, w1);
        s = v128.load64_splat(x1);
        a1 = product(a1, s, w0);
        b1 = product(b1, s, w1);
        s = v128.load64_splat(x2);
        a2 = product(a2, s, w0);
        b2 = product(b2, s, w1);
        s = v128.load64_splat(x3);
        a3 = product(a3, s, w0);
        b3 = product(b3, s, w1);
        w0 = v128.load(at, 32);
        w1 = v128.load(at, 48);
        s = v128.load64_splat(x0, 8);
        a0 = product(a0, s, w0);
        b0 = product(b0, s, w1);
        s = v128.load64_splat(x1, 8);
        a1 = product(a1, s, w0);
        b1 = product(b1, s, w1);
        s = v128.load64_splat(x2, 8);
        a2 = product(a2, s, w0);
        b2 = product(b2, s, w1);
        s = v128.load64_splat(x3, 8);
        a3 = product(a3, s, w0);
        b3 = product(b3, s, w1);
        x0 += 16;
        x1 += 16;
        x2 += 16;
        x3 += 16;
      }
      finish(to, a0, b0, mode);
      finish(to + outStep, a1, b1, mode);
      finish(to + 2 * outStep, a2, b2, mode);
      finish(to + 3 * outStep, a3, b3, mode);
      from += 4 * xStep;
      to += 4 * outStep;
    }
    for (; p < n; p++) {
      let a = bias0, b = bias1, x0 = from;
      for (let at = w; at < end; at += 32) {
        const s = v128.load64_splat(x0);
        a = product(a, s, v128.load(at));
        b = product(b, s, v128.load(at, 16));
        x0 += 8;
      }
      finish(to, a, b, mode);
      from += xStep;
      to += outStep;
    }
    w = end;
    bias += 32;
    out += 32;
  }
}

/**
 * One row of a depthwise 3×3 cross-correlation plus bias, rescaled.
 *
 * @param above, row, below rows of (width + 2) × channels float64, zero at both ends
 * @param w nine taps × channels
 */
export function depthwise64(
  above: usize, row: usize, below: usize,
  w: usize, bias: usize, out: usize, width: i32, channels: i32,
): void {
  const step = <usize>channels << 3;
  for (let p = 0; p < width; p++) {
    for (let c: usize = 0; c < step; c += 16) {
      let sum = v128.load(bias + c), tap = w + c;
      let at = above + c;
      for (let r = 0; r < 3; r++) {
        sum = product(sum, v128.load(at), v128.load(tap));
        sum = product(sum, v128.load(at + step), v128.load(tap + step));
        sum = product(sum, v128.load(at + 2 * step), v128.load(tap + 2 * step));
        tap += 3 * step;
        at = (r == 0 ? row : below) + c;
      }
      v128.store(out + c, rescaled(sum));
    }
    above += step;
    row += step;
    below += step;
    out += step;
  }
}

/** float32 → float64, n numbers, a multiple of 4. */
export function widen(from: usize, to: usize, n: i32): void {
  for (const end = to + (<usize>n << 3); to < end; to += 16, from += 8) {
    v128.store(to, f64x2.promote_low_f32x4(v128.load64_zero(from)));
  }
}

/** float64 → float32, n numbers, a multiple of 4. */
export function narrow(from: usize, to: usize, n: i32): void {
  for (const end = to + (<usize>n << 2); to < end; to += 16, from += 32) {
    const low = f32x4.demote_f64x2_zero(v128.load(from));
    const high = f32x4.demote_f64x2_zero(v128.load(from, 16));
    v128.store(to, v128.shuffle<i64>(low, high, 0, 2));
  }
}

/**
 * x += context + phase over a row; positions take the two phases in turn.
 *
 * @param x width × channels float64
 * @param context width × channels float32
 * @param phase 2 × channels float64
 */
export function addContext(x: usize, context: usize, phase: usize, width: i32, channels: i32): void {
  const step = <usize>channels << 3;
  for (let p = 0; p < width; p++) {
    const shift = phase + (p & 1 ? step : 0);
    for (let c: usize = 0; c < step; c += 16) {
      const seen = f64x2.promote_low_f32x4(v128.load64_zero(context));
      v128.store(x + c, f64x2.add(f64x2.add(v128.load(x + c), seen), v128.load(shift + c)));
      context += 8;
    }
    x += step;
  }
}

/**
 * Means and scale indices of one channel group in one row of a coding step, in coding order.
 *
 * @param from n positions × 2·channels float64: means, then raw scales
 * @param means, indices of the group's first channel in this row; channels are `plane` places apart
 * @param thresholds 63 rising float64
 */
export function predicted(
  from: usize, n: i32, channels: i32,
  means: usize, indices: usize, plane: i32, thresholds: usize,
): void {
  const step = <usize>channels << 4;
  for (let c = 0; c < channels; c++) {
    let at = from + (<usize>c << 3);
    for (let p = 0; p < n; p++) {
      f32.store(means + (<usize>p << 2), <f32>load<f64>(at));
      const raw = load<f64>(at + (step >> 1));
      let index: usize = 0;
      for (let half: usize = 32; half; half >>= 1) {
        if (load<f64>(thresholds + ((index + half - 1) << 3)) <= raw) index += half;
      }
      store<u8>(indices + p, <u8>index);
      at += step;
    }
    means += <usize>plane << 2;
    indices += plane;
  }
}

/**
 * Make the symbols of one channel group of a coding step known: latent = mean + symbol · 2^10.
 *
 * @param known rows × columns × `channels` float32, of all positions of the step's phase: from the
 *     first of them, `columnStep` and `rowStep` bytes apart
 * @param means float32 and `symbols` int16, channel by channel
 */
export function settle(
  known: usize, rows: i32, rowStep: usize, columns: i32, columnStep: usize, channels: i32,
  means: usize, symbols: usize,
): void {
  const plane = <usize>(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < columns; k++) {
      const place = <usize>(r * columns + k);
      const to = known + <usize>r * rowStep + <usize>k * columnStep;
      for (let c: usize = 0; c < <usize>channels; c++) {
        const at = place + c * plane;
        const symbol = <f32>load<i16>(symbols + (at << 1));
        f32.store(to + (c << 2), f32.load(means + (at << 2)) + symbol * 1024);
      }
    }
  }
}
