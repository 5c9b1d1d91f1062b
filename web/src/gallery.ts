/** The page that `codec web` writes: a grid of pictures, and one at full size with its layers. */

import { type CCIImage, decode, type FileInfo, info } from "./index";
import { paint } from "./paint";
import { bytesInWords, element, text } from "./words";

const NAMES = ["u", "u + z1", "u + z1 + z2"];
/** Bytes of a piece that a simulated connection brings. */
const PIECES_PER_SECOND = 20;

const links = [...document.querySelectorAll<HTMLAnchorElement>(".grid a")];
const grid = document.querySelector<HTMLElement>(".grid")!;
const viewer = element<HTMLDialogElement>("viewer");
const canvas = element<HTMLCanvasElement>("picture");
const slider = element<HTMLInputElement>("layers");
const rate = element<HTMLSelectElement>("rate");
const weights = document.body.dataset.weights!;

/** What is open: its place in the grid, and its bytes once they are there. */
let index = -1;
let file: { data: Uint8Array; info: FileInfo } | null = null;
let work = new AbortController();
/** Where the page stood before. */
let scrolled = 0;

const titleOf = (link: HTMLAnchorElement) =>
  link.querySelector<CCIImage>("cci-image")!.getAttribute("alt")!;

/** Begin something that what was begun before gives way to. */
function anew(): AbortSignal {
  work.abort();
  work = new AbortController();
  return work.signal;
}

// -- one picture -----------------------------------------------------------------------------------

async function open(place: number): Promise<void> {
  index = (place + links.length) % links.length;
  const link = links[index], picture = link.querySelector("cci-image")!, signal = anew();
  file = null;
  text("title", titleOf(link));
  text("count", `${index + 1} of ${links.length}`);
  const [width, height] = ["width", "height"].map((name) => Number(picture.getAttribute(name)));
  paint(canvas, null);
  canvas.setAttribute("aria-label", titleOf(link));
  canvas.style.setProperty("--w", String(width));
  canvas.style.setProperty("--h", String(height));
  text("status", "Loading…");
  text("facts", "");
  element("bar").replaceChildren();
  if (!viewer.open) {
    scrolled = scrollY;
    viewer.showModal();
    grid.hidden = true; // what is not seen is not decoded
  }
  try {
    const response = await fetch(link.href, { signal });
    if (!response.ok) throw new Error(`${link.href}: ${response.status} ${response.statusText}`);
    const data = new Uint8Array(await response.arrayBuffer());
    file = { data, info: info(data) };
    describe(file.info);
    await play(signal);
  } catch (error) {
    complain(error);
  }
}

function describe(found: FileInfo): void {
  const bpp = (8 * found.bytes) / (found.width * found.height);
  text("facts", `${found.width}×${found.height}, ${bytesInWords(found.bytes)}, ` +
    `${bpp.toFixed(2)} bits per pixel, quality ${found.quality}`);
  slider.max = String(found.layerInfo.length);
  element("ticks").replaceChildren(...found.layerInfo.map((_, i) => part("span", NAMES[i])));
  element("bar").replaceChildren(...found.layerInfo.map(({ name, bytes }) => {
    const layer = part("div", bytesInWords(bytes));
    layer.className = "layer";
    layer.prepend(part("b", name), " ");
    layer.style.flex = `${bytes} 1 0`;
    layer.style.setProperty("--tone", `var(--${name})`);
    return layer;
  }));
}

function part(tag: string, words: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = words;
  return made;
}

/** Show the picture sharpen, as if its bytes came over the chosen connection. */
async function play(signal: AbortSignal): Promise<void> {
  if (!file) return;
  const { data, info: found } = file, perSecond = Number(rate.value), started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  text("play", perSecond ? "Stop" : "Play");
  paint(canvas, null);
  received(0);
  text("status", "Waiting for the first layer…");
  try {
    const { image, notes } = await decode(perSecond ? slowly(data, perSecond, signal) : data, {
      weights, signal,
      onBytes: received,
      onFrame: ({ image: picture, layers, scale }) => {
        show(picture, layers);
        text("status", `${NAMES[layers - 1]}${sized(scale)} after ${seconds()}`);
      },
    });
    show(image, found.layerInfo.length);
    text("status", [`Complete after ${seconds()}`, ...notes].join("; "));
  } finally {
    if (!signal.aborted) text("play", "Play");
  }
}

const sized = (scale: number) => ({ 1: "", 2: ", half size", 4: ", quarter size" })[scale] ?? "";

/** Bytes as a slow connection brings them. */
function slowly(data: Uint8Array, perSecond: number, signal: AbortSignal): ReadableStream<Uint8Array> {
  const piece = Math.ceil(perSecond / PIECES_PER_SECOND);
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => { setTimeout(resolve, 1000 / PIECES_PER_SECOND); });
      if (signal.aborted) return controller.error(signal.reason);
      controller.enqueue(data.slice(at, at + piece));
      at += piece;
      return at >= data.length ? controller.close() : undefined;
    },
  }, { highWaterMark: 0 });
}

/** Show a number of layers in full size, the rest filled by the mean of the prior. */
async function still(layers: number): Promise<void> {
  if (!file) return;
  const { data, info: { layerInfo } } = file, signal = anew();
  text("play", "Play");
  text("status", `Decoding ${NAMES[layers - 1]}…`);
  try {
    const { image, notes } = await decode(data, { layers: layers as 1 | 2 | 3, weights, signal });
    show(image, layers);
    received(layers === layerInfo.length ? data.length : layerInfo[layers - 1].end);
    text("status", [
      `${NAMES[layers - 1]}: the first ${bytesInWords(layerInfo[layers - 1].end)}`, ...notes,
    ].join("; "));
  } catch (error) {
    complain(error);
  }
}

function show(image: ImageBitmap | ImageData, layers: number): void {
  paint(canvas, image as ImageBitmap);
  slider.value = String(layers);
  slider.setAttribute("aria-valuetext", `${NAMES[layers - 1]} of ${slider.max} layers`);
  [...element("ticks").children].forEach((tick, i) => tick.classList.toggle("on", i + 1 === layers));
  document.body.dataset.shown = String(layers);
}

/** Fill the bar of layers up to so many bytes. */
function received(count: number): void {
  if (!file) return;
  let start = 0;
  file.info.layerInfo.forEach(({ end }, i) => {
    const share = Math.max(0, Math.min(1, (count - start) / (end - start)));
    const bar = element("bar").children[i] as HTMLElement;
    bar.style.setProperty("--share", `${100 * share}%`);
    bar.classList.toggle("on", share === 1);
    start = end;
  });
}

function complain(error: unknown): void {
  const { name, message } = error as Error;
  if (name !== "AbortError") text("status", message);
}

// -- controls --------------------------------------------------------------------------------------

/** The address names what is open, so that the back button closes it. */
function follow(): void {
  const place = links.findIndex(
    (link) => location.hash === `#${encodeURIComponent(link.dataset.name!)}`,
  );
  if (place >= 0) void open(place);
  else if (viewer.open) viewer.close();
}

/** Open a picture. One step back leads to the grid, however many were looked at. */
function go(place: number): void {
  const { name } = links[(place + links.length) % links.length].dataset;
  const address = `#${encodeURIComponent(name!)}`;
  if (viewer.open) location.replace(address);
  else location.hash = address;
}

function close(): void {
  if (viewer.open) viewer.close();
}

for (const [place, link] of links.entries()) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(place);
  });
  const picture = link.querySelector("cci-image")!;
  picture.addEventListener("load", () => link.classList.add("loaded"));
  picture.addEventListener("error", (event) => {
    link.classList.add("failed");
    link.querySelector(".why")!.textContent = (event as CustomEvent<Error>).detail.message;
  });
}
viewer.addEventListener("close", () => {
  anew();
  const last = links[index];
  grid.hidden = false;
  scrollTo(0, scrolled);
  index = -1;
  delete document.body.dataset.shown;
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  last?.focus();
});
viewer.addEventListener("click", (event) => {
  if (event.target === viewer || (event.target as Element).classList.contains("stage")) close();
});
viewer.addEventListener("keydown", (event) => {
  if (event.target === slider || event.target === rate) return;
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser's own
  if (event.key === "ArrowRight") go(index + 1);
  if (event.key === "ArrowLeft") go(index - 1);
});
element("close").addEventListener("click", close);
element("next").addEventListener("click", () => go(index + 1));
element("before").addEventListener("click", () => go(index - 1));
slider.addEventListener("input", () => void still(Number(slider.value)));
rate.addEventListener("change", () => void play(anew()).catch(complain));
element("play").addEventListener("click", () => {
  if (element("play").textContent === "Stop") {
    anew();
    text("play", "Play");
    text("status", "Stopped");
  } else void play(anew()).catch(complain);
});
addEventListener("hashchange", follow);
document.documentElement.dataset.started = "";
follow();
