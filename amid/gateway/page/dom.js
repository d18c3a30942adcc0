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
  const shown = children.filter((child) => child !== null && child !== undefined);
  element.append(...shown.map((child) => (typeof child === "string" ? escapeDirections(child) : child)));
  return element;
}

/** Set the text of an element if it differs: an unchanged text costs the browser nothing. */
export function setText(element, text) {
  const shown = escapeDirections(text);
  if (element.textContent !== shown) element.textContent = shown;
}

const DIRECTIONS = /[\u202a-\u202e\u2066-\u2069]/g;

/** Escape characters that reverse the text after them: with one in a caller's name, 12345 would read 54321. */
const escapeDirections = (text) =>
  String(text ?? "").replace(DIRECTIONS, (char) => `\\u${char.codePointAt().toString(16)}`);

/** Between caller and callee. Its mark (LRM) keeps their order where both have Arabic or Hebrew names. */
export const ARROW = " \u200e→ ";

/**
 * Make the children of `parent` those of `items`, in order. An element is created once for each
 * key, updated while its item is in the list, and then removed. `create(item)` returns an element;
 * `update(element, item)` shows the item in it. A moved element keeps the focus.
 */
export function reconcile(parent, items, key, create, update = () => {}) {
  const elements = (parent.keyedElements ??= new Map());
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Set(items.map(key));
  for (const [id, element] of elements) {
    if (kept.has(id)) continue;
    element.remove(); // first: elements behind it would be moved otherwise
    elements.delete(id);
  }
  let next = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    let element = elements.get(id);
    if (!element) elements.set(id, (element = create(item)));
    update(element, item);
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
  if (document.activeElement !== focused) focused?.focus({ preventScroll: true });
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
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });

/** The local date and time of a Unix time in seconds. */
export function dateTime(seconds) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(seconds)}`;
}
