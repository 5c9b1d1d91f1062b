// Files that are dropped or chosen: all are taken, one after the other.

import { $, text } from "./words.js";
import { json } from "./server.js";

const queue = [];
let taken = 0; // of those that wait together

/**
 * Have files encoded (or kept, if they are .cci files).
 *
 * @param files as a browser gives them.
 * @param query what the encoder is asked for.
 * @param page {shown(), arrived(file, index)}: the name of what is shown; called with each file as
 *   the server describes it, and which of the lot it is, gives how many are forgotten for it.
 */
export async function take(files, query, page) {
  const running = queue.length > 0;
  for (const file of files) queue.push({ file, query, page });
  if (running || !queue.length) return;
  const refusals = [];
  refuse(refusals);
  taken = 0;
  let forgotten = 0;
  document.body.dataset.taking = "yes";
  while (queue.length) {
    const { file, query: settings, page: { shown, arrived } } = queue[0];
    const of = queue.length > 1 || taken ? ` (${taken + 1} of ${taken + queue.length})` : "";
    text("taking", `${/\.cci$/i.test(file.name) ? "Taking" : "Encoding"} ${file.name}${of}…`);
    try {
      const asked = { title: file.name, shown: shown(), ...settings };
      const known = await json("encode", asked, { method: "POST", body: file });
      forgotten += arrived(known, taken - refusals.length);
    } catch (error) {
      refusals.push(`${file.name}: ${error.message.replace(/^the data: /, "")}`);
      refuse(refusals);
    }
    queue.shift();
    taken += 1;
  }
  delete document.body.dataset.taking;
  const news = taken > 1 ? [`${taken - refusals.length} of ${taken} files taken`] : [];
  if (forgotten) news.push(`no room for ${forgotten} dropped before: forgotten`);
  text("taking", news.join("; "));
}

/** Name the files that could not be taken. What is shown goes on. */
function refuse(refusals) {
  text("refused", refusals.join("\n"));
  $("refused").hidden = !refusals.length;
}

/** Have files that are dropped anywhere on the page, and show meanwhile that they would be taken. */
export function onDrop(accept) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const dragging = (step) => {
    depth = step ? depth + step : 0;
    document.body.classList.toggle("dragging", depth > 0);
  };
  addEventListener("dragenter", () => dragging(1));
  addEventListener("dragleave", () => dragging(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(0);
    accept([...event.dataTransfer.files]);
  });
}
