/**
 * `node build/test/outcomes.js FOLDER MAX_PIXELS`: what becomes of every .cci file of a folder, a line
 * of JSON each; pictures are written beside them as RGBA bytes (`NAME.rgba`).
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { CodecError } from "../src/errors";
import { decode } from "./files";

const [folder, maxPixels] = process.argv.slice(2);
for (const name of readdirSync(folder).filter((file) => file.endsWith(".cci")).sort()) {
  try {
    const { picture, ...found } = await decode(
      new Uint8Array(readFileSync(`${folder}/${name}`)), { maxPixels: Number(maxPixels) }, 4096,
    );
    writeFileSync(`${folder}/${name}.rgba`, picture.data);
    const { layers, notes, damaged, filtered, symbolChecksums } = found;
    const size = [picture.width, picture.height];
    console.log(JSON.stringify({ name, size, layers, notes, damaged, filtered, symbolChecksums }));
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    console.log(JSON.stringify({ name, error: error.name, message: error.message }));
  }
}
