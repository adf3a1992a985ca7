// Elements out of data. Text only ever becomes text: nothing here parses HTML.

// h makes an element: h("td", {class: "number"}, "12"). Children are elements, text, arrays of these, or nothing.
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (attribute.startsWith("on")) element[attribute] = value;
    else if (attribute === "width") element.style.width = value;
    else element.setAttribute(attribute, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

// svg makes an element of a drawing, likewise.
export function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(attribute, value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child === undefined || child === null || child === false || child === "") continue;
    else element.append(child.nodeType ? child : String(child));
  }
}

// show makes element's children those of the list, changing only what differs: focus, selection and scroll stay.
export function show(element, ...children) {
  const next = element.cloneNode(false);
  add(next, children);
  patch(element, next);
}

function patch(old, next) {
  syncAttributes(old, next);
  const kept = new Map();
  for (const child of old.children) if (child.dataset.key) kept.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const child of [...next.childNodes]) {
    const match = child.dataset && child.dataset.key ? kept.get(child.dataset.key) : place;
    if (match && match.nodeName === child.nodeName && (match.dataset?.key || "") === (child.dataset?.key || "")) {
      if (match !== place) old.insertBefore(match, place);
      else place = place.nextSibling;
      update(match, child);
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function update(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  old.onclick = next.onclick;
  patch(old, next);
}

// The style attribute goes through the object model: the page's policy allows nothing else.
function syncAttributes(old, next) {
  if (old.style.cssText !== next.style.cssText) old.style.cssText = next.style.cssText;
  for (const { name } of [...old.attributes]) if (name !== "style" && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
}
