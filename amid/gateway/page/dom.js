// Elements without a framework: create one, find one, and keep a list of elements in step with a
// list of items.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/**
 * Create an element: `make("td", { className: "name" }, "text", child)`. Text becomes a text node,
 * never markup, so untrusted names are safe.
 */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element if it differs: an unchanged text costs the browser nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make the children of `parent` those of `items`, in order. An element is created once for each
 * key, updated while its item is in the list, and then removed. `create(item)` returns an element;
 * `update(element, item)` shows the item in it.
 */
export function reconcile(parent, items, key, create, update = () => {}) {
  const elements = (parent.keyedElements ??= new Map());
  const removed = new Set(elements.keys());
  let next = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    removed.delete(id);
    let element = elements.get(id);
    if (!element) elements.set(id, (element = create(item)));
    update(element, item);
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
  for (const id of removed) {
    elements.get(id).remove();
    elements.delete(id);
  }
}

/** A function that returns whether a text in lower case contains all words of `search`. */
export function searchFilter(search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return (text) => words.every((word) => text.includes(word));
}

/** Format seconds: 0:07, 12:30, 1:02:03. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** The local time of day of a Unix time in seconds. */
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

/** The local date and time of a Unix time in seconds. */
export function dateTime(seconds) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(seconds)}`;
}
