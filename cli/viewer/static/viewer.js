// The page: which file, how it arrives, what it is compared with.

import { json, messages, picture } from "./server.js";
import { Panes } from "./panes.js";
import { arrivalBar, bytes, decibels, perPixel, text } from "./words.js";

const $ = (id) => document.getElementById(id);
const state = { file: null, layers: 3, end: 0, psnr: null, compare: "", rateChosen: false };
const panes = new Panes($("picture"));
let showing = new AbortController(); // what fills the left pane
let comparing = new AbortController(); // what fills the right one
const NAMES = ["u", "z1", "z2"];

const become = (name) => { document.body.dataset.state = name; };
const say = (words) => text("status", words);
const chosen = (group) => document.querySelector(`input[name="${group}"]:checked`).value;

function fail(error) {
  if (error.name === "AbortError") return;
  become("failed");
  text("error", error.message);
  $("error").hidden = false;
}

function anew() {
  showing.abort();
  showing = new AbortController();
  $("error").hidden = true;
  text("play", "Play");
  return showing.signal;
}

// -- files ---------------------------------------------------------------------------------------

async function open(name) {
  const signal = anew();
  become("loading");
  try {
    const file = await json("info", { file: name }, { signal });
    use(file);
  } catch (error) {
    fail(error);
  }
}

function use(file) {
  state.file = file;
  document.title = `${file.title} – codec view`;
  panes.size(file.width, file.height);
  const count = file.layers.length;
  $("layers").max = count;
  $("layers").disabled = count < 2;
  $("ticks").replaceChildren(...file.layers.map((_, i) => Object.assign(
    document.createElement("span"), { textContent: NAMES.slice(0, i + 1).join(" + ") })));
  arrivalBar($("arrival"), file);
  $("download").href = `/api/file?file=${encodeURIComponent(file.name)}`;
  for (const input of document.querySelectorAll('input[name="compare"]')) {
    input.disabled = !file.original && input.value !== "";
    if (input.disabled && input.checked) document.querySelector('[name="compare"]').checked = true;
  }
  text("compare-hint", file.original ? "" :
    "Put the original beside the file, under the same name, to compare with it.");
  state.compare = chosen("compare");
  if (!state.rateChosen) { // about four seconds for the whole file
    const rates = [...$("rate").options].map((o) => +o.value).filter(Boolean);
    const far = (rate) => Math.abs(Math.log(rate * 4 / file.bytes));
    $("rate").value = rates.reduce((a, b) => (far(a) <= far(b) ? a : b));
  }
  play();
}

async function encode(blob) {
  const signal = anew();
  become("busy");
  say(`Encoding ${blob.name}…`);
  try {
    const aim = $("aim").value, much = +$("quality").value;
    const query = { title: blob.name, tune: $("tune").value };
    query[aim] = aim === "target_bytes" ? 1000 * much : much;
    const file = await json("encode", query, { method: "POST", body: blob, signal });
    $("file").append(new Option(`${file.title} (quality ${file.quality})`, file.name, true, true));
    use(file);
  } catch (error) {
    say("");
    fail(error);
  }
}

// -- what is shown -------------------------------------------------------------------------------

/** Note what the left pane shows: so many layers, from so many leading bytes. */
function shows(layers, scale, end, psnr) {
  const { file } = state;
  Object.assign(state, { layers, end, psnr });
  $("layers").value = layers;
  $("layers").setAttribute("aria-valuetext", `${layers} of ${file.layers.length}: ${sum(layers)}`);
  [...$("ticks").children].forEach((tick, i) => tick.classList.toggle("on", i + 1 === layers));
  const size = { 1: "", 2: ", half size", 4: ", quarter size" }[scale];
  text("left-name", `${sum(layers)}${size}`);
  $("shown").alt = `${file.title} from ${sum(layers)}${size}`;
  text("n-bytes", bytes(end));
  text("n-bpp", perPixel(8 * end / (file.width * file.height)));
  text("n-psnr", decibels(psnr));
  const whole = layers >= 3;
  text("fill-hint", whole ? "All layers are here: nothing to fill in." : "");
}

const sum = (layers) => NAMES.slice(0, layers).join(" + ");

async function play() {
  const signal = anew(), { file } = state;
  become("streaming");
  text("play", "Stop");
  document.body.dataset.frames = 0;
  panes.clear();
  say("Waiting for the first layer…");
  try {
    const query = { file: file.name, rate: $("rate").value, ...fill() };
    for await (const message of messages("stream", query, signal)) {
      if (message.type === "bytes") received(message.received);
      if (message.type === "frame") {
        await panes.show(message.url);
        if (signal.aborted) return;
        shows(message.layers, message.scale, message.end, null);
        say(`${sum(message.layers)} shown after ${message.seconds.toFixed(1)} s`);
        document.body.dataset.frames = +document.body.dataset.frames + 1;
        compare();
      }
      if (message.type === "score" && message.layers === state.layers) {
        state.psnr = message.psnr;
        text("n-psnr", decibels(message.psnr));
      }
      if (message.type === "error") throw new Error(message.error);
      if (message.type === "end") {
        say([`Complete after ${message.seconds.toFixed(1)} s`, ...message.notes].join("; "));
      }
    }
    text("play", "Play");
    become("done");
  } catch (error) {
    text("play", "Play");
    fail(error);
  }
}

function received(count) {
  const { file } = state;
  let start = 0;
  file.layers.forEach((layer, i) => {
    const share = Math.max(0, Math.min(1, (count - start) / (layer.end - start)));
    const part = $("arrival").children[i];
    part.style.setProperty("--share", `${100 * share}%`);
    part.classList.toggle("on", share === 1);
    start = layer.end;
  });
  $("arrival").setAttribute("aria-valuenow", Math.round(100 * count / file.bytes));
  $("arrival").setAttribute("aria-valuetext", `${bytes(count)} of ${bytes(file.bytes)}`);
  text("bytes", `${bytes(count)} of ${bytes(file.bytes)}`);
}

/** Show a number of layers in full size, missing ones filled as chosen. */
async function still(layers) {
  const signal = anew(), { file } = state;
  become("busy");
  say(`Decoding ${sum(layers)}…`);
  const { end } = file.layers[layers - 1];
  try {
    const started = performance.now();
    const frame = await picture("decode", { file: file.name, layers, ...fill() }, signal);
    await panes.show(frame.url);
    if (signal.aborted) return;
    shows(layers, 1, end, frame.psnr ?? null);
    received(layers === file.layers.length ? file.bytes : end);
    const filled = layers < 3 ? `, the rest filled with ${chosen("fill") === "mean" ?
      "the mean" : `a sample (seed ${$("seed").value})`}` : "";
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say([`${sum(layers)}${filled}, ${seconds} s`, ...frame.notes].join("; "));
    become("done");
    compare();
  } catch (error) {
    fail(error);
  }
}

const fill = () => ({ fill: chosen("fill"), seed: Math.trunc(Math.abs($("seed").value)) || 0 });

// -- what it is compared with --------------------------------------------------------------------

async function compare() {
  comparing.abort();
  comparing = new AbortController();
  const { signal } = comparing, { file, compare: name, end } = state;
  for (const id of ["rival-name", "r-bytes", "r-bpp", "r-psnr"]) $(id).hidden = !name;
  if (!file.original) return panes.compare(null);
  text("compare-hint", "");
  if (!name) return panes.compare(null);
  const title = { original: "original", jpeg: "JPEG", jpeg2000: "JPEG 2000" }[name];
  text("rival-name", title);
  for (const id of ["r-bytes", "r-bpp", "r-psnr"]) text(id, "…");
  try {
    const found = name === "original"
      ? await panes.kept(`original ${file.name}`, () => picture("original", { file: file.name }, signal))
      : await picture("rival", { file: file.name, name, bytes: end }, signal);
    await panes.compare(found.url, title, signal);
    text("r-bytes", found.bytes ? bytes(found.bytes) : "–");
    text("r-bpp", found.bpp ? perPixel(found.bpp) : "–");
    text("r-psnr", decibels(found.psnr));
    text("compare-hint", found.note ?? "");
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    panes.compare(null); // the left pane is not concerned
    for (const id of ["r-bytes", "r-bpp", "r-psnr"]) text(id, "–");
    text("compare-hint", error.message);
  }
  return undefined;
}

// -- controls ------------------------------------------------------------------------------------

$("file").onchange = () => open($("file").value);
$("play").onclick = () => {
  if (!state.file) return;
  if (document.body.dataset.state !== "streaming") play();
  else {
    anew();
    become("done");
    say("Stopped");
  }
};
$("rate").onchange = () => {
  state.rateChosen = true;
  if (state.file) play();
};
$("layers").oninput = () => state.file && still(+$("layers").value);
const refill = () => {
  $("seed-row").hidden = chosen("fill") !== "sample";
  if (state.file && state.layers < 3) still(state.layers);
};
$("fill").onchange = refill;
$("seed").onchange = refill;
$("another").onclick = () => {
  $("seed").value = Math.floor(Math.random() * 1e6);
  refill();
};
$("compare").onchange = () => {
  state.compare = chosen("compare");
  if (state.file) compare();
};
$("actual").onchange = () => document.body.classList.toggle("actual", $("actual").checked);
$("quality").oninput = () => text("quality-value", $("quality").value);
const AIMS = { // least, most and first value of what new files may aim at
  quality: [0, 100, 50],
  target_ssimulacra2: [0, 95, 75],
  target_psnr: [20, 45, 34],
  target_bytes: [1, 300, 30],
};
$("aim").onchange = () => {
  const [min, max, value] = AIMS[$("aim").value];
  Object.assign($("quality"), { min, max, value });
  $("quality").oninput();
};
$("upload").onchange = () => {
  if ($("upload").files.length) encode($("upload").files[0]);
  $("upload").value = "";
};
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
  if (event.dataTransfer.files.length) encode(event.dataTransfer.files[0]);
});

// The address may name a file and a bandwidth: /?file=photo.cci&rate=4000
const asked = new URLSearchParams(location.search);
if ([...$("rate").options].some((option) => option.value === asked.get("rate"))) {
  $("rate").value = asked.get("rate");
  state.rateChosen = true;
}

json("files").then(({ files }) => {
  $("file").append(...files.map((name) => new Option(name, name)));
  if (files.includes(asked.get("file"))) $("file").value = asked.get("file");
  if (files.length) return open($("file").value);
  become("empty");
  return say("There is no .cci file in this folder. Drop a picture here to encode it.");
}).catch(fail);
