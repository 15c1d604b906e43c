// Sorts and filters the page's tables, and draws its icicle. Names of the heap are only
// ever set as text. Asks nobody for anything.
"use strict";
document.documentElement.classList.add("js");

function sortable(box) {
  const body = box.querySelector("tbody");
  const rows = Array.from(body.rows);
  const heads = Array.from(box.querySelectorAll("th"));
  const field = box.querySelector("input");
  const count = box.querySelector(".count");
  const all = box.querySelector("button.all");
  const shownAtFirst = Number(box.dataset.shown);
  let order = rows.slice();
  let everything = rows.length <= shownAtFirst + 3;

  function show() {
    if (!field) return;
    const wanted = field.value.trim().toLowerCase();
    let found = 0;
    for (const row of order) {
      const fits = !wanted || row.textContent.toLowerCase().includes(wanted);
      if (fits) found += 1;
      row.hidden = !fits || (!everything && found > shownAtFirst);
    }
    const shown = everything ? found : Math.min(found, shownAtFirst);
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    all.hidden = everything || found <= shownAtFirst;
    all.textContent = `Show all ${found.toLocaleString("en")}`;
  }

  function sortBy(head) {
    const column = heads.indexOf(head);
    const numeric = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const falling = before ? before === "ascending" : numeric;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent;
      return cell.dataset.v === undefined ? -Infinity : Number(cell.dataset.v);
    };
    const way = falling ? -1 : 1;
    const keyed = rows.map((row) => [key(row), row]);
    keyed.sort(([a], [b]) => way * (numeric ? a - b || 0 : a < b ? -1 : a > b ? 1 : 0));
    order = keyed.map(([, row]) => row);
    body.append(...order);
    show();
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => sortBy(head));
  }
  field?.addEventListener("input", show);
  all.addEventListener("click", () => {
    everything = true;
    show();
    body.rows[shownAtFirst]?.scrollIntoView({ block: "nearest" });
    box.querySelector("th button").focus({ preventScroll: true });
  });
  show();
}

function icicle(box) {
  const ROW = 27;
  const NARROW = 26;
  const cells = JSON.parse(box.querySelector("#icicle-data").textContent);
  const place = box.querySelector(".cells");
  const told = box.querySelector(".told");
  const children = cells.map(() => []);
  let top = 0;
  let current = 0;

  cells.forEach((cell, number) => {
    if (cell.parent >= 0) children[cell.parent].push(number);
    const element = document.createElement("div");
    const siblings = cell.parent < 0 ? [number] : children[cell.parent];
    element.className = "cell";
    element.classList.toggle("odd", (siblings.length + cell.depth) % 2 === 0);
    element.classList.toggle("grows", cell.grows);
    element.setAttribute("role", "treeitem");
    element.setAttribute("aria-level", String(cell.depth + 1));
    element.setAttribute("aria-label", `${cell.text}: ${cell.told}${cell.grows ? ", grows" : ""}`);
    element.tabIndex = -1;
    element.textContent = cell.label;
    element.addEventListener("mouseenter", () => tell(number));
    element.addEventListener("focus", () => tell(number));
    element.addEventListener("click", () => {
      go(number);
      zoom(number === top ? Math.max(cells[top].parent, 0) : number);
    });
    cell.element = element;
    place.append(element);
  });

  function tell(number) {
    const name = document.createElement("code");
    name.textContent = cells[number].text;
    told.replaceChildren(name, document.createElement("br"), cells[number].told);
    if (cells[number].grows) told.append(", grows");
  }

  function go(number) {
    if (number === undefined) return;
    cells[current].element.tabIndex = -1;
    current = number;
    const element = cells[current].element;
    element.tabIndex = 0;
    if (element.hidden) zoom(cells[current].parent < 0 ? 0 : cells[current].parent);
    element.focus();
  }

  function zoom(number) {
    top = number;
    const frame = cells[top];
    const above = new Set();
    for (let up = frame.parent; up >= 0; up = cells[up].parent) above.add(up);
    const width = place.clientWidth || 1000;
    let deepest = 0;
    cells.forEach((cell, index) => {
      const isAbove = above.has(index);
      const left = isAbove ? 0 : (cell.left - frame.left) / frame.width;
      const part = isAbove ? 1 : cell.width / frame.width;
      const inside = left > -1e-6 && left + part < 1 + 1e-4 && (isAbove || cell.depth >= frame.depth);
      const shown = inside && part * width >= 1.5;
      cell.element.hidden = !shown;
      if (!shown) return;
      cell.element.style.left = `${100 * left}%`;
      cell.element.style.width = `${100 * part}%`;
      cell.element.style.top = `${cell.depth * ROW}px`;
      cell.element.classList.toggle("narrow", part * width < NARROW);
      deepest = Math.max(deepest, cell.depth);
    });
    place.style.height = `${(deepest + 1) * ROW}px`;
  }

  place.addEventListener("keydown", (event) => {
    const { parent } = cells[current];
    const siblings = parent < 0 ? [current] : children[parent];
    const position = siblings.indexOf(current);
    const keys = {
      ArrowUp: () => parent >= 0 && go(parent),
      ArrowDown: () => go(children[current][0]),
      ArrowLeft: () => go(siblings[position - 1]),
      ArrowRight: () => go(siblings[position + 1]),
      Home: () => { zoom(0); go(0); },
      Enter: () => zoom(current),
      " ": () => zoom(current),
      Escape: () => { zoom(Math.max(cells[top].parent, 0)); go(top); },
    };
    if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  box.hidden = false;
  cells[0].element.tabIndex = 0;
  zoom(0);
  tell(0);
  window.addEventListener("resize", () => zoom(top));
  window.addEventListener("beforeprint", () => zoom(0));
}

// What a picture is about stands at its right end.
for (const wide of document.querySelectorAll(".wide")) {
  if (wide.querySelector(".picture")) wide.scrollLeft = wide.scrollWidth;
}
document.querySelectorAll(".sortable").forEach(sortable);
document.querySelectorAll(".icicle").forEach(icicle);
