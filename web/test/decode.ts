/** `node build/test/decode.js FILE...`: decode files and print what came of them, with times. */

import { readFile, writeFile } from "node:fs/promises";
import { engine, pieces } from "./files";

for (const file of process.argv.slice(2)) {
  const data = await readFile(file);
  for (let i = 0; i < Number(process.env.TIMES ?? 1); i++) {
    const started = performance.now(), before = process.cpuUsage();
    const cpu = () => (process.cpuUsage(before).user + process.cpuUsage(before).system) / 1000;
    const since = () => `${(performance.now() - started).toFixed(0)} ms (processor ${cpu().toFixed(0)})`;
    const result = await engine.decode(pieces(data), {}, {
      frame: ({ scale }) => console.log(`  1/${scale} after ${since()}`),
    });
    const { picture: { width, height, data: pixels }, symbolChecksums, notes } = result;
    console.log(`${file}: ${width}×${height}, ${since()}`, notes,
      symbolChecksums.map((crc) => crc.toString(16).padStart(8, "0")),
      `${(await engine.memory()) >> 20} MB, rss ${process.memoryUsage().rss >> 20} MB`);
    if (process.env.OUT) await writeFile(process.env.OUT, pixels);
  }
}
