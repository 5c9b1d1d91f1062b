// Where a file can be stopped: after every stage of its layers.

/**
 * Stops of a file, coarse to fine: {layers, stages, end, within, name}. `end`: bytes that suffice;
 * `within`: the stop lies inside a layer, whose last bytes it does not need.
 */
export function stopsOf(file) {
  const stops = [];
  let before = 0;
  file.layers.forEach((layer, index) => {
    const layers = file.layers.slice(0, index + 1).map(({ name }) => name).join(" + ");
    for (let stage = 1; stage <= layer.stages; stage += 1) {
      const within = stage < layer.stages;
      stops.push({
        layers: index + 1,
        stages: before + stage,
        end: layer.end,
        within,
        name: within ? `${layers}, stage ${stage} of ${layer.stages}` : layers,
      });
    }
    before += layer.stages;
  });
  return stops;
}

/** Set up the slider and what stands below it. */
export function offerStops(slider, ticks, stops) {
  slider.max = Math.max(1, stops.length);
  slider.disabled = stops.length < 2;
  const many = stops.length > 3;
  ticks.classList.toggle("many", many);
  ticks.replaceChildren(...stops.map((stop) => {
    const tick = document.createElement("span");
    const short = stop.within ? "·" : stop.name.split(" + ").at(-1);
    tick.textContent = many ? short : stop.name;
    return tick;
  }));
}
