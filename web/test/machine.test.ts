/** The kernels' memory: pieces never overlap, and what is given back can be taken again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LimitError } from "../src/errors";
import { type Kernels, Machine, Room } from "../src/machine";

const machineOf = (maximum: number) => new Machine({
  memory: new WebAssembly.Memory({ initial: 1, maximum }),
} as unknown as Kernels);

test("pieces are apart, aligned, and together again in the end", () => {
  const machine = machineOf(256), taken = new Map<number, number>();
  for (let i = 0; i < 3000; i++) {
    const number = (i * 2654435761) % 2 ** 32;
    if (number % 5 < 3 || !taken.size) {
      const bytes = 1 + (number % 4000), at = machine.take(bytes);
      assert.equal(at % 16, 0);
      for (const [other, size] of taken) assert.ok(at + bytes <= other || other + size <= at);
      taken.set(at, bytes);
    } else {
      const [at] = [...taken][number % taken.size];
      machine.give(at);
      taken.delete(at);
    }
  }
  for (const at of taken.keys()) machine.give(at);
  const { size } = machine;
  machine.give(machine.take(size - 4096)); // in one piece
  assert.equal(machine.size, size);
});

test("zeros are zero, and a room gives back all that is left in it", () => {
  const machine = machineOf(16), room = new Room(machine);
  const at = room.take(64);
  machine.u8(at, 64).fill(7);
  room.clear();
  const again = room.zeros(64);
  assert.equal(again, at);
  assert.ok(machine.u8(again, 64).every((byte) => byte === 0));
  assert.throws(() => machine.give(again + 16));
});

test("too much is refused in words", () => {
  assert.throws(() => machineOf(4).take(2 ** 20), LimitError);
});
