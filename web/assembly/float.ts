// The float networks of the picture (docs/format.md, section 4): rows of positions × channels,
// float32. All channel counts are multiples of 8, and all pointers multiples of 16.

// @ts-ignore: decorator
@inline
function product(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b));
}

// @ts-ignore: decorator
@inline
function finish(out: usize, a: v128, b: v128, add: bool): void {
  v128.store(out, add ? f32x4.add(a, v128.load(out)) : a);
  v128.store(out, add ? f32x4.add(b, v128.load(out, 16)) : b, 16);
}

/**
 * Matrix product over channels plus bias.
 *
 * @param x n positions × cin
 * @param w weights in panels of eight outputs: cout/8 × cin × 8
 * @param out n positions × cout; with `add` the result is added to what it holds
 */
export function pointwise32(
  x: usize, n: i32, cin: i32, w: usize, bias: usize, cout: i32, out: usize, add: bool,
): void {
  const xStep = <usize>cin << 2;
  const outStep = <usize>cout << 2;
  const panel = <usize>cin << 5;
  for (let o = 0; o < cout; o += 8) {
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
        let s = v128.load32_splat(x0);
        a0 = product(a0, s, w0);
        b0 = product(b0, s, w1);
        s = v128.load32_splat(x1);
        a1 = product(a1, s, w0);
        b1 = product(b1, s, w1);
        s = v128.load32_splat(x2);
        a2 = product(a2, s, w0);
        b2 = product(b2, s, w1);
        s = v128.load32_splat(x3);
        a3 = product(a3, s, w0);
        b3 = product(b3, s, w1);
        w0 = v128.load(at, 32);
        w1 = v128.load(at, 48);
        s = v128.load32_splat(x0, 4);
        a0 = product(a0, s, w0);
        b0 = product(b0, s, w1);
        s = v128.load32_splat(x1, 4);
        a1 = product(a1, s, w0);
        b1 = product(b1, s, w1);
        s = v128.load32_splat(x2, 4);
        a2 = product(a2, s, w0);
        b2 = product(b2, s, w1);
        s = v128.load32_splat(x3, 4);
        a3 = product(a3, s, w0);
        b3 = product(b3, s, w1);
        x0 += 8;
        x1 += 8;
        x2 += 8;
        x3 += 8;
      }
      finish(to, a0, b0, add);
      finish(to + outStep, a1, b1, add);
      finish(to + 2 * outStep, a2, b2, add);
      finish(to + 3 * outStep, a3, b3, add);
      from += 4 * xStep;
      to += 4 * outStep;
    }
    for (; p < n; p++) {
      let a = bias0, b = bias1, x0 = from;
      for (let at = w; at < end; at += 32) {
        const s = v128.load32_splat(x0);
        a = product(a, s, v128.load(at));
        b = product(b, s, v128.load(at, 16));
        x0 += 4;
      }
      finish(to, a, b, add);
      from += xStep;
      to += outStep;
    }
    w = end;
    bias += 32;
    out += 32;
  }
}

/**
 * One row of a depthwise k×k cross-correlation plus bias.
 *
 * @param rows k pointers (uint32) to rows of (width + k − 1) × channels, zero at both ends
 * @param w k·k taps × channels
 */
export function depthwise32(
  rows: usize, k: i32, w: usize, bias: usize, out: usize, width: i32, channels: i32,
): void {
  const step = <usize>channels << 2;
  for (let p = 0; p < width; p++) {
    const left = <usize>p * step;
    for (let c: usize = 0; c < step; c += 32) {
      let a = v128.load(bias + c), b = v128.load(bias + c, 16);
      let tap = w + c;
      for (let r = 0; r < k; r++) {
        let at = <usize>load<u32>(rows + (<usize>r << 2)) + left + c;
        for (let i = 0; i < k; i++) {
          a = product(a, v128.load(at), v128.load(tap));
          b = product(b, v128.load(at, 16), v128.load(tap, 16));
          at += step;
          tap += step;
        }
      }
      v128.store(out + c, a);
      v128.store(out + c, b, 16);
    }
    out += step;
  }
}

/** e^x, relative error below 2e-7, x within ±87. */
// @ts-ignore: decorator
@inline
function exponential(x: v128): v128 {
  const bounded = f32x4.pmax(f32x4.pmin(x, f32x4.splat(87)), f32x4.splat(-87));
  const n = f32x4.nearest(f32x4.mul(bounded, f32x4.splat(1.44269504)));
  let r = f32x4.sub(bounded, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.add(r, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = product(f32x4.splat(1.3981999507e-3), p, r);
  p = product(f32x4.splat(8.3334519073e-3), p, r);
  p = product(f32x4.splat(4.1665795894e-2), p, r);
  p = product(f32x4.splat(1.6666665459e-1), p, r);
  p = product(f32x4.splat(5.0000001201e-1), p, r);
  p = f32x4.add(product(r, f32x4.mul(r, r), p), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, power);
}

/** clamp(a · silu(b), ±2): n positions × 2·channels, a then b → n × channels. */
export function gate(from: usize, n: i32, channels: i32, to: usize): void {
  const half = <usize>channels << 2;
  const one = f32x4.splat(1);
  for (let p = 0; p < n; p++) {
    for (let c: usize = 0; c < half; c += 16) {
      const a = v128.load(from + c), b = v128.load(from + half + c);
      const silu = f32x4.div(b, f32x4.add(one, exponential(f32x4.neg(b))));
      const out = f32x4.mul(a, silu);
      v128.store(to + c, f32x4.pmax(f32x4.pmin(out, f32x4.splat(2)), f32x4.splat(-2)));
    }
    from += 2 * half;
    to += half;
  }
}

/** to = from · scale + shift by channel; n positions × channels. */
export function affine(
  from: usize, n: i32, channels: i32, scale: usize, shift: usize, to: usize,
): void {
  const step = <usize>channels << 2;
  for (let p = 0; p < n; p++) {
    for (let c: usize = 0; c < step; c += 16) {
      v128.store(to + c, product(v128.load(shift + c), v128.load(from + c), v128.load(scale + c)));
    }
    from += step;
    to += step;
  }
}

/**
 * Pixel shuffle of one row: n positions × factor · run numbers → `factor` rows of n · run numbers.
 *
 * @param run numbers of one position in one row, a multiple of 4
 * @param toStep bytes from one row to the next
 */
export function shuffle(
  from: usize, n: i32, factor: i32, run: i32, to: usize, toStep: usize, add: bool,
): void {
  const bytes = <usize>run << 2;
  for (let p = 0; p < n; p++) {
    for (let i = 0; i < factor; i++) {
      const row = to + <usize>i * toStep;
      for (let at: usize = 0; at < bytes; at += 16) {
        const value = v128.load(from + at);
        v128.store(row + at, add ? f32x4.add(value, v128.load(row + at)) : value);
      }
      from += bytes;
    }
    to += bytes;
  }
}
