import assert from "node:assert/strict";
import { test } from "node:test";
import { reduced } from "../src/area";

test("a value is the mean of its square, halves up, of fewer at the edges", () => {
  const plane = [
    0, 1, 10, 11, 7,
    2, 4, 10, 11, 8,
    255, 254, 0, 0, 9,
  ];
  assert.deepEqual([...reduced(plane, 5, 3, 2)], [2, 11, 8, 255, 0, 9]);
  assert.deepEqual([...reduced(plane, 5, 3, 4)], [47, 8]);
  assert.deepEqual([...reduced([3], 1, 1, 4)], [3]);
});
