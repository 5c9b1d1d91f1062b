// Keys of the whole page, and the line that lists them.

import { $ } from "./words.js";

/**
 * @param rows of [keys, what they do, action]: the action gets the key; one that is to be held also
 *   gets false when it is released.
 */
export function listen(rows) {
  const actions = new Map();
  for (const [keys, , action] of rows) for (const key of keys) actions.set(key, action);
  $("keys").replaceChildren(...rows.flatMap(([keys, words]) => {
    const entry = document.createElement("span");
    entry.append(...keys.filter((key) => key !== "=").map((key) => Object.assign(
      document.createElement("kbd"), { textContent: key.toUpperCase() })), ` ${words}`);
    return [entry, " "];
  }));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing(event.target)) return;
    actions.get(event.key.toLowerCase())?.(event.key.toLowerCase(), true);
  });
  addEventListener("keyup", (event) => actions.get(event.key.toLowerCase())?.(event.key, false));
}

/** Whether the key is meant for a list or a number. */
const typing = (target) => target.matches?.('select, textarea, input:not([type="range"], [type="radio"], [type="file"])');

/** Make a button do something as long as it is held, by pointer or key. */
export function held(button, action) {
  const on = () => action(true), off = () => action(false);
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    on();
  });
  for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) button.addEventListener(end, off);
  button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && on());
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
  addEventListener("blur", off);
}
