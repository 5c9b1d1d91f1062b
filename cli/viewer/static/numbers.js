// The table of numbers: what is shown, and what it is compared with.

import { $, bytes, decibels, perPixel, points, text } from "./words.js";

const ROWS = ["bytes", "bpp", "psnr", "seen"];

/** Forget everything. */
export function clearNumbers() {
  for (const row of ROWS) text(`n-${row}`, "–");
  text("numbers-hint", "");
  rivalColumn(null);
}

/** Size of what is shown. `within`: it ends inside a layer, whose last bytes it does not need. */
export function showSize(count, pixels, within) {
  const most = within ? "≤ " : "";
  text("n-bytes", most + bytes(count));
  text("n-bpp", most + perPixel(8 * count / pixels));
}

/** Scores of what is shown; undefined: not known (yet). */
export function showScore({ psnr, ssimulacra2 }, pixels) {
  text("n-psnr", decibels(psnr));
  text("n-seen", points(ssimulacra2));
  text("numbers-hint", ssimulacra2 === null && pixels > 4e6
    ? "SSIMULACRA2 is left out above 4 megapixels: it would take long." : "");
}

/** Head the second column, or hide it (null). */
export function rivalColumn(title) {
  for (const row of ["bytes", "bpp", "psnr", "seen"]) {
    $(`r-${row}`).hidden = !title;
    text(`r-${row}`, "–");
  }
  $("rival-name").hidden = !title;
  text("rival-name", title ?? "");
}

export function rivalWaits() {
  for (const row of ROWS) text(`r-${row}`, "…");
}

export function rivalNumbers(rival) {
  text("r-bytes", rival.bytes ? bytes(rival.bytes) : "–");
  text("r-bpp", rival.bpp ? perPixel(rival.bpp) : "–");
  text("r-psnr", decibels(rival.psnr));
  text("r-seen", points(rival.ssimulacra2));
}
