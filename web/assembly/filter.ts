// The filter fitted to a picture (docs/format.md, section 4), over planes of float32.
//
// A plane is an array of lines; neighbours of a place stand 1, or `line` numbers, from it. Kernels
// run over whole arrays, so places near the ends of lines hold numbers of no use.

// @ts-ignore: decorator
@inline
function at(plane: usize, offset: i32): v128 {
  return v128.load(plane + (<usize>offset << 2));
}

// @ts-ignore: decorator
@inline
function add(a: v128, b: v128): v128 {
  return f32x4.add(a, b);
}

// @ts-ignore: decorator
@inline
function sub(a: v128, b: v128): v128 {
  return f32x4.sub(a, b);
}

// @ts-ignore: decorator
@inline
function mul(a: v128, b: v128): v128 {
  return f32x4.mul(a, b);
}

// @ts-ignore: decorator
@inline
function within(x: v128, limit: f32): v128 {
  return f32x4.pmax(f32x4.pmin(x, f32x4.splat(limit)), f32x4.splat(-limit));
}

/** The number `index` of an array, four times. */
// @ts-ignore: decorator
@inline
function each(array: usize, index: i32): v128 {
  return v128.load32_splat(array + (<usize>index << 2));
}

/** P(−step) + P(step). */
// @ts-ignore: decorator
@inline
function pair(plane: usize, step: i32): v128 {
  return add(at(plane, -step), at(plane, step));
}

/**
 * A row of RGB pixels, n of them, clamped in place to 0 … 1 → rows of Y, U, V, whose ends are repeated
 * `border` times on both sides.
 */
export function planesOf(pixels: usize, n: i32, y: usize, u: usize, v: usize, border: i32): void {
  for (let k = -border; k < n + border; k++) {
    const pixel = pixels + <usize>(12 * max(0, min(n - 1, k)));
    const red = min<f32>(1, max<f32>(0, f32.load(pixel)));
    const green = min<f32>(1, max<f32>(0, f32.load(pixel, 4)));
    const blue = min<f32>(1, max<f32>(0, f32.load(pixel, 8)));
    f32.store(pixel, red);
    f32.store(pixel, green, 4);
    f32.store(pixel, blue, 8);
    f32.store(y, (red + green + blue) / 3);
    f32.store(u, (red - blue) / 2);
    f32.store(v, (2 * green - red - blue) / 6);
    y += 4;
    u += 4;
    v += 4;
  }
}

/** |P(−step) + P(step) − 2P|. */
export function turns(plane: usize, n: i32, step: i32, to: usize): void {
  for (let i = 0; i < n; i += 4, plane += 16, to += 16) {
    const here = at(plane, 0);
    v128.store(to, f32x4.abs(sub(pair(plane, step), add(here, here))));
  }
}

/** Sums of 3 (reach 1) or 5 (reach 2) numbers `step` apart. */
export function sums(plane: usize, n: i32, step: i32, reach: i32, to: usize): void {
  for (let i = 0; i < n; i += 4, plane += 16, to += 16) {
    let sum = add(at(plane, 0), pair(plane, step));
    if (reach == 2) sum = add(sum, pair(plane, 2 * step));
    v128.store(to, sum);
  }
}

export function products(a: usize, b: usize, n: i32, to: usize): void {
  for (let i = 0; i < n; i += 4, a += 16, b += 16, to += 16) {
    v128.store(to, mul(v128.load(a), v128.load(b)));
  }
}

/** Sums over 3×3 of the four turns → axis, tilt, active, in the places of the first three. */
export function steer(across: usize, down: usize, falling: usize, rising: usize, n: i32): void {
  const ninth = f32x4.splat(<f32>(1.0 / 9.0));
  const floor = f32x4.splat(<f32>(1.0 / 1024.0)), half = f32x4.splat(<f32>(1.0 / 16.0));
  for (let i: usize = 0; i < <usize>n << 2; i += 16) {
    const a = mul(v128.load(across + i), ninth), d = mul(v128.load(down + i), ninth);
    const f = mul(v128.load(falling + i), ninth), e = mul(v128.load(rising + i), ninth);
    const both = add(a, d);
    v128.store(across + i, f32x4.div(sub(a, d), add(both, floor)));
    v128.store(down + i, f32x4.div(sub(f, e), add(add(f, e), floor)));
    v128.store(falling + i, f32x4.div(both, add(both, half)));
  }
}

/** Slope of a plane over Y within ±1, from sums over 5×5 of Y, Y², P, Y·P; over the last. */
export function slopes(y: usize, yy: usize, p: usize, yp: usize, n: i32): void {
  const part = f32x4.splat(<f32>(1.0 / 25.0));
  const small = f32x4.splat(<f32>((2.0 / 255.0) * (2.0 / 255.0)));
  for (let i: usize = 0; i < <usize>n << 2; i += 16) {
    const mean = mul(v128.load(y + i), part);
    const spread = sub(mul(v128.load(yy + i), part), mul(mean, mean));
    const variance = f32x4.pmax(spread, f32x4.splat(0));
    const common = sub(mul(v128.load(yp + i), part), mul(mean, mul(v128.load(p + i), part)));
    v128.store(yp + i, within(f32x4.div(common, add(variance, small)), 1));
  }
}

/** Change of luma: 18 coefficients times features. */
export function lumaChange(
  y: usize, axis: usize, tilt: usize, active: usize, n: i32, line: i32, c: usize, to: usize,
): void {
  const clip: f32 = <f32>(4.0 / 255.0);
  for (let i = 0; i < n; i += 4) {
    const here = at(y, 0), twice = add(here, here);
    const across = sub(pair(y, 1), twice), down = sub(pair(y, line), twice);
    const falling = sub(pair(y, line + 1), twice), rising = sub(pair(y, line - 1), twice);
    const across2 = sub(pair(y, 2), twice), down2 = sub(pair(y, 2 * line), twice);
    const near = add(
      add(within(sub(at(y, -1), here), clip), within(sub(at(y, 1), here), clip)),
      add(within(sub(at(y, -line), here), clip), within(sub(at(y, line), here), clip)),
    );
    const r1 = add(across, down), r2 = add(falling, rising), r3 = add(across2, down2);
    const a = v128.load(active), x = v128.load(axis), t = v128.load(tilt);
    let sum = mul(r1, weight(c, 0, a));
    sum = add(sum, mul(r2, weight(c, 1, a)));
    sum = add(sum, mul(r3, weight(c, 2, a)));
    sum = add(sum, mul(mul(sub(across, down), x), weight(c, 3, a)));
    sum = add(sum, mul(mul(sub(across2, down2), x), weight(c, 4, a)));
    sum = add(sum, mul(mul(sub(falling, rising), t), weight(c, 5, a)));
    sum = add(sum, mul(near, weight(c, 6, a)));
    sum = add(sum, mul(mul(mul(r1, x), x), weight(c, 7, a)));
    sum = add(sum, mul(mul(mul(r2, t), t), weight(c, 8, a)));
    v128.store(to, sum);
    y += 16;
    axis += 16;
    tilt += 16;
    active += 16;
    to += 16;
  }
}

/** A coefficient, and the one of the same feature weighted by activity. */
// @ts-ignore: decorator
@inline
function weight(c: usize, index: i32, active: v128): v128 {
  return add(each(c, index), mul(active, each(c, index + 9)));
}

/** Change of a chroma plane: 14 coefficients times features. */
export function chromaChange(
  own: usize, other: usize, y: usize, axis: usize, tilt: usize, slope: usize,
  n: i32, line: i32, c: usize, to: usize,
): void {
  for (let i = 0; i < n; i += 4) {
    const across = pair(own, 1), down = pair(own, line);
    const falling = pair(own, line + 1), rising = pair(own, line - 1);
    const s = v128.load(slope);
    let sum = rings(own, line, each(c, 0), each(c, 1), each(c, 2));
    sum = add(sum, rings(other, line, each(c, 3), each(c, 4), each(c, 5)));
    sum = add(sum, rings(
      y, line, add(each(c, 6), mul(s, each(c, 11))), add(each(c, 7), mul(s, each(c, 12))),
      add(each(c, 8), mul(s, each(c, 13))),
    ));
    sum = add(sum, mul(mul(sub(across, down), v128.load(axis)), each(c, 9)));
    sum = add(sum, mul(mul(sub(falling, rising), v128.load(tilt)), each(c, 10)));
    v128.store(to, sum);
    own += 16;
    other += 16;
    y += 16;
    axis += 16;
    tilt += 16;
    slope += 16;
    to += 16;
  }
}

/** The three rings of a plane, each times its weight. */
function rings(plane: usize, line: i32, c1: v128, c2: v128, c3: v128): v128 {
  const here = at(plane, 0), twice = add(here, here), four = add(twice, twice);
  const r1 = sub(add(pair(plane, 1), pair(plane, line)), four);
  const r2 = sub(add(pair(plane, line + 1), pair(plane, line - 1)), four);
  const r3 = sub(add(pair(plane, 2), pair(plane, 2 * line)), four);
  return add(add(mul(r1, c1), mul(r2, c2)), mul(r3, c3));
}

/** Adds 16 coefficients times tones: polynomials of t = 2Y − 1, a = 4U and b = 4V, halved. */
export function addTones(y: usize, u: usize, v: usize, n: i32, c: usize, to: usize): void {
  const one = f32x4.splat(1), four = f32x4.splat(4), half = f32x4.splat(0.5);
  for (let i: usize = 0; i < <usize>n << 2; i += 16) {
    const luma = v128.load(y + i), t = sub(add(luma, luma), one);
    const a = mul(four, v128.load(u + i)), b = mul(four, v128.load(v + i));
    const p2 = next(t, t, one, 1), p3 = next(t, p2, t, 2), p4 = next(t, p3, p2, 3);
    const p5 = next(t, p4, p3, 4), p6 = next(t, p5, p4, 5);
    let sum = add(each(c, 0), mul(t, each(c, 1)));
    sum = add(sum, add(mul(p2, each(c, 2)), mul(p3, each(c, 3))));
    sum = add(sum, add(mul(p4, each(c, 4)), mul(p5, each(c, 5))));
    sum = add(sum, mul(p6, each(c, 6)));
    const ofA = add(add(each(c, 7), mul(t, each(c, 9))), add(mul(a, each(c, 11)), mul(p2, each(c, 14))));
    const ofB = add(add(each(c, 8), mul(t, each(c, 10))), add(mul(b, each(c, 13)), mul(p2, each(c, 15))));
    sum = add(sum, add(mul(a, add(ofA, mul(b, each(c, 12)))), mul(b, ofB)));
    v128.store(to + i, add(v128.load(to + i), mul(half, sum)));
  }
}

/** The Legendre polynomial of degree n + 1 from those of degree n and n − 1 (Bonnet's recursion). */
// @ts-ignore: decorator
@inline
function next(t: v128, p: v128, before: v128, n: f32): v128 {
  const more: f32 = (2 * n + 1) / (n + 1), less: f32 = n / (n + 1);
  return sub(mul(mul(f32x4.splat(more), t), p), mul(f32x4.splat(less), before));
}

/** A row of n pixels += change within ±1/8, times the share of R, G, B. */
export function applyChange(
  pixels: usize, change: usize, n: i32, red: f32, green: f32, blue: f32,
): void {
  for (let i = 0; i < n; i++, pixels += 12, change += 4) {
    const value = min<f32>(0.125, max<f32>(-0.125, f32.load(change)));
    f32.store(pixels, f32.load(pixels) + red * value);
    f32.store(pixels, f32.load(pixels, 4) + green * value, 4);
    f32.store(pixels, f32.load(pixels, 8) + blue * value, 8);
  }
}
