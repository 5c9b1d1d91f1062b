// Range decoding of a layer's symbols (docs/format.md, section 3).

/** Answers of {@link decodeStep}. */
const SOUND = 0;
const INVALID = 1;
const IMPOSSIBLE = 2;

const LARGEST = 4095;
const BITS: u64 = 24;
const ESCAPED: i16 = 0x7fff;

let lower: u64 = 0;
let range: u64 = 0;
let point: u64 = 0;
let next: usize = 0;
let end: usize = 0;
let invalid = false;

function word(): u64 {
  if (next >= end) return 0;
  const value = <u64>load<u32>(next);
  next += 4;
  return value;
}

/** Begin a layer: `bytes` of words, with zeros behind them up to a multiple of four. */
export function beginLayer(words: usize, bytes: i32): void {
  next = words;
  end = words + bytes;
  lower = 0;
  range = <u64>-1;
  point = word() << 32;
  point |= word();
}

/** Where the point lies, 0 … 2^24 − 1; sets `invalid` where it lies nowhere. */
// @ts-ignore: decorator
@inline
function quantile(): u32 {
  const found = (point - lower) / (range >> BITS);
  if (found >> BITS) invalid = true;
  return <u32>found;
}

// @ts-ignore: decorator
@inline
function take(from: u32, to: u32): void {
  const scale = range >> BITS;
  lower += scale * <u64>from;
  range = scale * <u64>(to - from);
  if (range >> 32 == 0) {
    lower <<= 32;
    range <<= 32;
    point = (point << 32) | word();
  }
}

/** One of `count` entries with these 24-bit cumulatives (uint32, count + 1 of them). */
function entry(cumulative: usize, count: i32): i32 {
  const at = quantile();
  if (invalid) return 0;
  let low = 0, high = count;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (load<u32>(cumulative + (<usize>middle << 2)) <= at) low = middle;
    else high = middle;
  }
  const place = cumulative + (<usize>low << 2);
  take(load<u32>(place), load<u32>(place, 4));
  return low;
}

/** A number below 2^bits, all equally likely. */
function uniform(bits: u32): u32 {
  const width: u32 = 24 - bits;
  const value = quantile() >> width;
  if (invalid) return 0;
  take(value << width, (value + 1) << width);
  return value;
}

/** A magnitude beyond the limit of its table, with its sign. */
function escape(limit: i32): i32 {
  const negative = uniform(1);
  let excess = 1;
  for (let low = uniform(4); low && !invalid; low--) excess = (excess << 1) | uniform(1);
  const value = limit + excess;
  return negative ? -value : value;
}

/**
 * The symbols of one coding step.
 *
 * @param indices scale indices, uint8
 * @param symbols int16, in coding order
 * @param order room for n uint32
 * @param starts room for 65 uint32
 * @param tables of 64 scale indices: pointer to the cumulatives and number of entries, uint32 each
 */
export function decodeStep(
  n: i32, indices: usize, symbols: usize, order: usize, starts: usize, tables: usize, skip: i32,
): i32 {
  invalid = false;
  memory.fill(symbols, 0, <usize>n << 1);
  memory.fill(starts, 0, 65 << 2);
  for (let i = 0; i < n; i++) {
    const at = starts + ((<usize>load<u8>(indices + i) + 1) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  for (let at = starts + 4; at <= starts + 256; at += 4) {
    store<u32>(at, load<u32>(at) + load<u32>(at - 4));
  }
  for (let i = 0; i < n; i++) {
    const at = starts + (<usize>load<u8>(indices + i) << 2);
    const place = load<u32>(at);
    store<u32>(order + (<usize>place << 2), i);
    store<u32>(at, place + 1);
  }
  // Now starts[j] is where group j ends.
  for (let j = skip + 1; j < 64; j++) {
    const first = order + (<usize>load<u32>(starts + ((<usize>j - 1) << 2)) << 2);
    const last = order + (<usize>load<u32>(starts + (<usize>j << 2)) << 2);
    if (first == last) continue;
    const table = <usize>load<u32>(tables + (<usize>j << 3));
    const count = load<i32>(tables + (<usize>j << 3), 4);
    const limit = (count >> 1) - 1;
    let escapes = 0;
    for (let at = first; at < last; at += 4) {
      const found = entry(table, count);
      if (invalid) return INVALID;
      const value = found == count - 1 ? ESCAPED : <i16>(found - limit);
      escapes += i32(found == count - 1);
      store<i16>(symbols + (<usize>load<u32>(at) << 1), value);
    }
    for (let at = first; escapes; at += 4) {
      const place = symbols + (<usize>load<u32>(at) << 1);
      if (load<i16>(place) != ESCAPED) continue;
      const value = escape(limit);
      if (invalid) return INVALID;
      if (value > LARGEST || value < -LARGEST) return IMPOSSIBLE;
      store<i16>(place, <i16>value);
      escapes--;
    }
  }
  return SOUND;
}
