// The page: which file, how it arrives, how much of it is shown.

import * as arrival from "./arrival.js";
import { json, messages } from "./server.js";
import { Coding } from "./coding.js";
import { Comparison } from "./comparison.js";
import { held, listen } from "./keys.js";
import { clearNumbers, showScore, showSize } from "./numbers.js";
import { Panes } from "./panes.js";
import { offerStops, stopsOf } from "./stops.js";
import { Strip } from "./strip.js";
import { onDrop, take } from "./taking.js";
import { $, chosen, pace, text } from "./words.js";
import { Zoom } from "./zoom.js";

const state = { file: null, stops: [], stop: null, opened: 0 };
const panes = new Panes(), zoom = new Zoom(), comparison = new Comparison(panes);
let showing = new AbortController(); // what fills the left pane
const inMemory = new Set(); // names of files that the server may forget

const become = (name) => { document.body.dataset.state = name; };
const say = (words) => text("status", words);
const pixels = () => state.file.width * state.file.height;

function fail(error) {
  if (error.name === "AbortError") return;
  become("failed");
  say("");
  text("error", error.message);
  $("error").hidden = false;
}

/** End what is going on in the left pane. */
function anew() {
  showing.abort();
  showing = new AbortController();
  $("error").hidden = true;
  text("play", "Play");
  return showing.signal;
}

/** Nothing of what was shown must be taken for what comes. */
function clear() {
  comparison.cancel();
  panes.clear();
  clearNumbers();
  state.stop = null;
  text("fill-hint", "");
}

// -- files ---------------------------------------------------------------------------------------

const title = (file) => (file.name === file.title ? file.title : `${file.title} (quality ${file.quality})`);

async function open(name) {
  const signal = anew();
  state.opened += 1;
  state.file = null;
  coding.cancel();
  clear();
  become("loading");
  $("file").value = name;
  document.title = "codec view";
  arrival.clear();
  $("download").removeAttribute("href");
  offerStops($("layers"), $("ticks"), []);
  coding.explain(null);
  say(`Opening ${$("file").selectedOptions[0]?.textContent ?? name}…`);
  strip.mark(name);
  try {
    use(await json("info", { file: name }, { signal }));
    play();
    return true;
  } catch (error) {
    fail(error);
    return signal.aborted; // another was asked for meanwhile
  }
}

/** Open the first of some files that can be; the first one's error stays where none can. */
async function openFirst(names) {
  for (const name of names) if (await open(name)) return;
  if (names.length > 1) open(names[0]);
}

/** Make the controls those of a file. */
function use(file) {
  state.file = file;
  state.stops = stopsOf(file);
  document.title = `${file.title} – codec view`;
  zoom.size(file.width, file.height);
  offerStops($("layers"), $("ticks"), state.stops);
  arrival.layers(file);
  $("download").href = `/api/file?file=${encodeURIComponent(file.name)}`;
  const auto = [...$("rate").options].find(({ value }) => value === "auto");
  auto.textContent = `automatic (${pace(automatic())})`;
  coding.explain(file);
}

const optionOf = (name) => [...$("file").options].find(({ value }) => value === name);

/** Have a file in the list, under the title it has now, and choose it there. */
function list(file, choose) {
  let option = optionOf(file.name);
  if (!option) $("file").append(option = new Option("", file.name));
  option.textContent = title(file);
  if (choose) $("file").value = file.name;
  if (file.held.includes(file.name)) inMemory.add(file.name);
  strip.add(file.name, title(file));
}

/** Take the files off the list that had to make room on the server; how many they are. */
function forget(held) {
  const gone = [...inMemory].filter((name) => !held.includes(name));
  for (const name of gone) {
    inMemory.delete(name);
    optionOf(name)?.remove();
    strip.remove(name);
  }
  return gone.length;
}

function accept(files) {
  if (!files.length) return;
  const { opened } = state;
  take(files, coding.query(), {
    shown: () => state.file?.name ?? "",
    arrived(file, index) {
      list(file);
      if (index === 0 && state.opened === opened) open(file.name);
      return forget(file.held);
    },
  });
}

function beside(step) {
  const options = [...$("file").options];
  const next = options[$("file").selectedIndex + step];
  if (next) open(next.value);
}

// -- what is shown -------------------------------------------------------------------------------

/** Note what the left pane shows: the file up to a stop, at a scale. */
function shows(stop, scale, score) {
  const { file, stops } = state, at = stops.indexOf(stop) + 1;
  state.stop = stop;
  $("layers").value = at;
  $("layers").setAttribute("aria-valuetext", `${at} of ${stops.length}: ${stop.name}`);
  [...$("ticks").children].forEach((tick, i) => tick.classList.toggle("on", i + 1 === at));
  const size = { 1: "", 2: ", half size", 4: ", quarter size" }[scale];
  text("left-name", `${stop.name}${size}`);
  $("shown").alt = `${file.title} from ${stop.name}${size}`;
  $("save").download = `${file.title.split("/").at(-1).replace(/\.[^.]*$/, "")}-${stop.name.replace(/\W+/g, "-")}.png`;
  showSize(stop === stops.at(-1) ? file.bytes : stop.end, pixels(), stop.within);
  showScore(score, pixels());
  text("fill-hint", missing() ? "" : "Nothing to fill in.");
}

const missing = () => state.stop.stages < state.file.filled_below;

const automatic = () => Math.max(1, Math.round(state.file.bytes / 4)); // about four seconds

async function play() {
  const signal = anew(), { file, stops } = state;
  become("streaming");
  text("play", "Stop");
  document.body.dataset.frames = 0;
  clear();
  comparison.offer(file);
  panes.size(file.width);
  arrival.received(file, 0);
  say("Waiting for the first layer…");
  const rate = $("rate").value === "auto" ? automatic() : $("rate").value;
  try {
    for await (const message of messages("stream", { file: file.name, rate, ...fill() }, signal)) {
      if (message.type === "bytes") arrival.received(state.file, message.received);
      if (message.type === "frame") {
        await panes.show(message.url, signal);
        if (signal.aborted) return;
        shows(stops.findLast(({ layers }) => layers === message.layers), message.scale, {});
        say(`${state.stop.name} shown after ${message.seconds.toFixed(1)} s`);
        document.body.dataset.frames = +document.body.dataset.frames + 1;
        compare();
      }
      if (message.type === "score" && message.layers === state.stop.layers) {
        showScore(message, pixels());
      }
      if (message.type === "error") throw new Error(message.error);
      if (message.type === "end") {
        const all = message.cut ? "The file is cut; all of it shown" : "Complete";
        say([`${all} after ${message.seconds.toFixed(1)} s`, ...message.notes].join("; "));
      }
    }
    text("play", "Play");
    become("done");
  } catch (error) {
    if (signal.aborted) return; // the button belongs to what came after
    text("play", "Play");
    fail(error);
  }
}

/** Show the file up to a stop, in full size, what is missing filled as chosen. */
async function still(stop, first = "") {
  const signal = anew(), { file, stops } = state;
  become("busy");
  say(`${first}Decoding ${stop.name}…`);
  try {
    const started = performance.now();
    const query = { file: file.name, layers: stop.layers, stages: stop.stages, ...fill() };
    for await (const message of messages("decode", query, signal)) {
      if (message.type === "score") {
        showScore({ psnr: state.psnr, ...message }, pixels());
        continue;
      }
      await panes.show(message.url, signal);
      if (signal.aborted) return;
      state.psnr = message.psnr;
      shows(stop, 1, { psnr: message.psnr });
      arrival.received(file, stop === stops.at(-1) ? file.bytes : stop.end);
      const filled = missing() ? `, the rest filled with ${chosen("fill") === "mean" ?
        "the mean" : `a sample (seed ${$("seed").value})`}` : "";
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      say([`${first}${stop.name}${filled}, ${seconds} s`, ...message.notes].join("; "));
      compare();
    }
    if (!signal.aborted) become("done");
  } catch (error) {
    fail(error);
  }
}

const fill = () => ({
  fill: chosen("fill"),
  seed: Math.trunc(Math.abs($("seed").value)) || 0,
  temperature: $("temperature").value,
});

const compare = () => state.stop && comparison.show(
  state.file, state.stop === state.stops.at(-1) ? state.file.bytes : state.stop.end);

// -- controls ------------------------------------------------------------------------------------

const coding = new Coding({
  file: () => state.file,
  begun() {
    anew();
    become("busy");
    say("Encoding anew…");
  },
  recoded(file, seconds) {
    list(file, true);
    forget(file.held);
    strip.mark(file.name);
    use(file);
    still(state.stops.at(-1), `Quality ${file.quality}, encoded in ${seconds.toFixed(1)} s. `);
  },
  failed: fail,
});
const strip = new Strip(open, () => !("taking" in document.body.dataset)
  && ["done", "failed", "empty"].includes(document.body.dataset.state));

function playOrStop() {
  if (!state.file) return;
  if (document.body.dataset.state !== "streaming") play();
  else {
    anew();
    become("done");
    say("Stopped");
  }
}

$("file").onchange = () => open($("file").value);
$("play").onclick = playOrStop;
$("rate").onchange = () => state.file && play();
$("layers").oninput = () => state.file && still(state.stops[$("layers").value - 1]);
const refill = () => {
  $("sampling").hidden = chosen("fill") !== "sample";
  if (state.stop && missing()) still(state.stop);
};
$("fill").onchange = refill;
$("seed").onchange = refill;
$("temperature").oninput = () => text("temperature-value", (+$("temperature").value).toFixed(2));
$("temperature").onchange = refill;
$("another").onclick = () => {
  $("seed").value = Math.floor(Math.random() * 1e6);
  refill();
};
$("compare").onchange = () => state.file && compare();
$("upload").onchange = () => {
  accept([...$("upload").files]);
  $("upload").value = "";
};

const help = () => {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", !$("keys").hidden);
};
$("help").onclick = help;
const flick = (on) => panes.flick(on);
held($("flick"), flick);
const pressed = (action) => (key, down) => down && action(key);
listen([
  [["+", "=", "-"], "zoom", pressed((key) => zoom.step(key === "-" ? -1 : 1))],
  [["0"], "fit", pressed(() => zoom.set(null))],
  [["1"], "one to one", pressed(() => zoom.set(1))],
  [["f"], "held: the other picture", (_, down) => flick(down)],
  [["p", "n"], "previous, next file", pressed((key) => beside(key === "p" ? -1 : 1))],
  [["r"], "play, stop", pressed(playOrStop)],
  [["?"], "these keys", pressed(help)],
]);

const stage = document.querySelector(".stage");
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--stage-height", `${stage.offsetHeight}px`);
}).observe(stage);

onDrop(accept);

// The address may name a file and a bandwidth: /?file=photo.cci&rate=4000
const asked = new URLSearchParams(location.search);
if ([...$("rate").options].some(({ value }) => value === asked.get("rate"))) {
  $("rate").value = asked.get("rate");
}

json("about").then((about) => {
  coding.offer(about.models);
  comparison.lacks(about.rivals.filter(({ missing: lacks }) => lacks));
  $("temperature").value = about.temperature;
  $("temperature").oninput();
}).catch(fail);

json("files").then(({ files, more }) => {
  $("file").append(...files.map((name) => new Option(name, name)));
  for (const name of files) strip.add(name, name);
  if (more) text("taking", `The folder holds more: these are the first ${files.length} files.`);
  if (files.includes(asked.get("file"))) return open(asked.get("file"));
  if (files.length) return openFirst(files);
  become("empty");
  coding.explain(null);
  return say("There is no .cci file in this folder. Drop a picture here to encode it.");
}).catch(fail);
