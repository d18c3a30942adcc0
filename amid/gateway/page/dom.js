// Elements without a framework: make one, find one, and keep a list of them in step with a list of things.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** An element: `make("td", { className: "name" }, "text", child)`. Text is set as text, never as markup. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set text only where it differs: what does not change costs the browser nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `things`, in order: an element is made once for each key and updated while its thing is
 * there. `make(thing)` gives an element, `update(element, thing)` shows the thing in it.
 */
export function keyed(parent, things, key, create, update) {
  const known = (parent.keyedElements ??= new Map());
  const left = new Set(known.keys());
  let place = parent.firstChild;
  for (const thing of things) {
    const id = key(thing);
    left.delete(id);
    let element = known.get(id);
    if (!element) known.set(id, (element = create(thing)));
    update(element, thing);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const id of left) {
    known.get(id).remove();
    known.delete(id);
  }
}

/** Where a list is empty, say so; and in any case which PBX refused to give it. */
export function showEmpty(element, filled, pbxs, list, empty) {
  const refused = [...pbxs.values()].filter((pbx) => pbx.refusals[list]).map((pbx) => (pbxs.size > 1 ? `${pbx.server}: ` : "") + pbx.refusals[list]);
  setText(element, refused.length ? `Not shown: ${refused.join("; ")}` : empty);
  element.hidden = filled && !refused.length;
}

/** Seconds as people read them: 0:07, 12:30, 1:02:03. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** The time of day of seconds since 1970. */
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
