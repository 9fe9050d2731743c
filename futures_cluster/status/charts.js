"use strict";
// The drawings of the page: elements, the task stream, the flame graph, the graph of tasks, small plots.
// Names come from users: they are only ever set as text, never as HTML.

function make(tag, attributes, ...children) {
  const svg = ["svg", "path", "rect", "text", "g"].includes(tag) || (tag === "a" && attributes && attributes.svg);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false || name === "svg") continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const PALETTE = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#d37295", "#edc948", "#9c755f", "#ff9da7", "#8cd17d", "#b6992d", "#86a4d6"];
const colours = new Map();
function colourOf(name) {
  if (!colours.has(name)) colours.set(name, PALETTE[colours.size] || `hsl(${Math.round(colours.size * 137.5) % 360} 45% 58%)`);
  return colours.get(name);
}

function bytes(number) {
  if (number === null || number === undefined) return "";
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (Math.abs(number) < 1000) return (unit === "B" || number >= 100 ? Math.round(number) : number.toPrecision(2)) + " " + unit;
    number /= 1000;
  }
  return number.toPrecision(3) + " TB";
}
function digits(number, most) {
  return Math.abs(number) >= 10 ** (most - 1) ? String(Math.round(number)) : number.toPrecision(most);
}
function seconds(number) {
  if (number === null || number === undefined) return "";
  const size = Math.abs(number);
  if (size < 1e-9) return "0 s"; // what is left of sums
  if (size < 1e-3) return digits(number * 1e6, 2) + " µs";
  if (size < 1) return digits(number * 1e3, 3) + " ms";
  if (size < 100) return digits(number, 3) + " s";
  return size < 7200 ? Math.round(number / 60) + " min" : (number / 3600).toPrecision(3) + " h";
}
function count(number) {
  return number === null || number === undefined ? "" : Math.round(number).toLocaleString("en");
}
function clock(time) {
  return time === null ? "" : new Date(time * 1000).toLocaleTimeString("en-GB");
}
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const tip = {
  show(x, y, title, ...lines) {
    const box = document.getElementById("tip");
    box.replaceChildren(make("b", {}, title), ...lines.filter(Boolean).map((line) => make("span", {}, line)));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = Math.max(4, Math.min(x + 14, innerWidth - width - 6)) + "px";
    box.style.top = (y + 18 + height > innerHeight ? y - height - 10 : y + 18) + "px";
  },
  hide() { document.getElementById("tip").hidden = true; },
};

const byName = new Intl.Collator("en", { numeric: true }).compare;
const laneOf = (worker, lane) => worker + "\n" + lane;

// What each thread did. Rows: [kind, lane, function, start, end, number, key, size, failed, worker, name of the lane].
class Stream {
  constructor(canvas, open) {
    this.canvas = canvas;
    this.open = open;
    this.rows = [];
    this.running = []; // what has not ended: rows that grow
    this.span = 30;
    this.paused = false;
    this.whole = false; // a report: time counts from its start
    this.now = 0;
    this.chosen = null;
    this.lanes = new Map();
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { tip.hide(); this.chosen = null; this.draw(); });
    canvas.addEventListener("click", (event) => { const row = this.at(event.offsetX, event.offsetY); if (row) open(row[6]); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => tip.hide());
  }
  add(chunks) {
    for (const [worker, offset, rows] of chunks)
      for (const row of rows) {
        row[3] += offset; row[4] += offset; row[9] = worker; row[10] = laneOf(worker, row[1]);
        this.rows.push(row);
      }
    if (this.rows.length > 40000) this.rows.splice(0, this.rows.length - 30000);
  }
  run(rows) {
    this.running = rows.map(([worker, lane, name, key, start]) => [0, lane, name, start, this.now, 1, key, 0, false, worker, laneOf(worker, lane)]);
  }
  get all() { return this.running.length ? this.rows.concat(this.running) : this.rows; }
  // One lane a slot, and below those of a worker one for what moves.
  layout(workers) {
    for (const row of this.running) row[4] = Math.max(row[3], this.now);
    const seen = new Map(); // worker -> lanes with rows in this time
    for (const row of this.all)
      if (row[4] > this.now - this.span) {
        if (!seen.has(row[9])) seen.set(row[9], new Set());
        seen.get(row[9]).add(row[1]);
      }
    const slots = new Map(workers.map((worker) => [worker.name, worker.slots]));
    this.lanes = new Map();
    for (const name of [...new Set([...slots.keys(), ...seen.keys()])].sort(byName)) {
      const lanes = new Set(Array(Math.min(slots.get(name) || 0, 64)).keys());
      for (const lane of seen.get(name) || []) if (lane >= 0) lanes.add(lane);
      if (seen.has(name) && seen.get(name).has(-1)) lanes.add(-1);
      let label = name;
      for (const lane of lanes) { this.lanes.set(laneOf(name, lane), { y: this.lanes.size, label }); label = ""; }
    }
  }
  draw() {
    const canvas = this.canvas, width = canvas.parentElement.clientWidth;
    if (!width) return;
    const number = Math.max(1, this.lanes.size);
    this.lane = Math.max(4, Math.min(18, Math.floor(400 / number)));
    this.left = width > 620 ? 118 : 64;
    const height = number * this.lane + 20, ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = height + "px";
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const line = css("--line"), soft = css("--soft"), failed = css("--failed"), lost = css("--lost");
    const begin = this.now - this.span, scale = (width - this.left) / this.span;
    g.font = "11px system-ui, sans-serif"; g.textBaseline = "middle";
    g.strokeStyle = line; g.lineWidth = 1; g.fillStyle = soft; g.textAlign = "center";
    const step = this.span / 5;
    for (let at = 0; at <= 5; at++) {
      const x = Math.round(this.left + at * step * scale) + .5;
      g.beginPath(); g.moveTo(x, 0); g.lineTo(x, height - 18); g.stroke();
      g.textAlign = at === 5 ? "right" : "center";
      const back = this.span - at * step;
      g.fillText(this.whole ? seconds(at * step) : at === 5 ? "now" : "−" + back + " s", x, height - 8);
    }
    g.textAlign = "left";
    let free = -12;
    for (const lane of this.lanes.values()) {
      const y = lane.y * this.lane + this.lane / 2;
      if (lane.label && y - free >= 12) { g.fillText(lane.label, 0, y, this.left - 8); free = y; }
    }
    const gap = this.lane > 8 ? 2 : 1;
    for (const row of this.all) {
      if (row[4] < begin || row[3] > this.now) continue;
      const lane = this.lanes.get(row[10]);
      if (!lane) continue;
      const x = Math.max(this.left, this.left + (row[3] - begin) * scale);
      const w = Math.max(1, this.left + (row[4] - begin) * scale - x);
      g.fillStyle = row[8] ? failed : row[0] === 2 ? lost : row[0] === 1 ? soft : colourOf(row[2]);
      const thin = row[0] ? Math.floor(this.lane / 3) : 0;
      g.fillRect(x, lane.y * this.lane + thin, w > 3 ? w - .5 : w, this.lane - gap - thin);
      if (row === this.chosen) { g.strokeStyle = css("--ink"); g.lineWidth = 2; g.strokeRect(x, lane.y * this.lane, w, this.lane - gap); }
    }
  }
  box(row) {
    const begin = this.now - this.span, scale = (this.canvas.clientWidth - this.left) / this.span;
    const lane = this.lanes.get(row[10]);
    return { x: this.left + (row[3] - begin) * scale, w: Math.max(3, (row[4] - row[3]) * scale), y: lane ? lane.y * this.lane : 0 };
  }
  at(x, y) {
    const place = Math.floor(y / this.lane);
    const rows = this.all;
    let best = null;
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i], lane = this.lanes.get(row[10]);
      if (!lane || lane.y !== place) continue;
      const box = this.box(row);
      if (x >= box.x - 1 && x <= box.x + box.w + 1) { best = row; break; }
    }
    return best;
  }
  words(row) {
    const what = ["", "transfer ", "to disk "][row[0]] + row[2];
    return [what + (row[5] > 1 ? " × " + row[5] : ""), row[8] ? "raised" : null,
      (row[5] > 1 ? "together " : this.running.includes(row) ? "so far " : "") + seconds(row[4] - row[3]) + (row[7] ? ", " + bytes(row[7]) : ""),
      row[9] + (row[1] >= 0 ? ", thread " + row[1] : ""), (row[5] > 1 ? "the last: " : "") + row[6]];
  }
  hover(event) {
    const row = this.at(event.offsetX, event.offsetY);
    if (row !== this.chosen) { this.chosen = row; this.draw(); }
    if (row) tip.show(event.clientX, event.clientY, ...this.words(row)); else tip.hide();
  }
  key(event) {
    const rows = this.all.filter((row) => row[4] > this.now - this.span && this.lanes.has(row[10]));
    if (!rows.length) return;
    const place = (row) => this.lanes.get(row[10]).y;
    let row = rows.includes(this.chosen) ? this.chosen : null;
    if (event.key === "Enter") { if (row) this.open(row[6]); return; }
    if (event.key === "Escape") { this.chosen = null; tip.hide(); this.draw(); return; }
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    if (!row) row = rows[rows.length - 1];
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const same = rows.filter((other) => place(other) === place(row)).sort((a, b) => a[3] - b[3]);
      row = same[same.indexOf(row) + (event.key === "ArrowLeft" ? -1 : 1)] || row;
    } else {
      const down = event.key === "ArrowDown" ? 1 : -1;
      const others = rows.filter((other) => (place(other) - place(row)) * down > 0);
      others.sort((a, b) => (place(a) - place(b)) * down || Math.abs(a[3] - row[3]) - Math.abs(b[3] - row[3]));
      row = others[0] || row;
    }
    this.chosen = row;
    this.draw();
    const box = this.box(row), frame = this.canvas.getBoundingClientRect();
    tip.show(frame.left + box.x, frame.top + box.y, ...this.words(row));
  }
}

// A tree of samples: [samples, {frame: tree}].
class Flame {
  constructor(box) { this.box = box; this.path = []; this.tree = [0, {}]; this.interval = .02; }
  draw() {
    let tree = this.tree;
    for (const name of this.path) tree = tree[1][name] || tree;
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.path : null;
    const nodes = [], all = tree[0] || 1, width = this.box.clientWidth || 1000, row = 20;
    let deepest = 0;
    const visit = (node, from, depth, path) => {
      let at = from;
      for (const [name, child] of Object.entries(node[1]).sort((a, b) => b[1][0] - a[1][0])) {
        const share = child[0] / all;
        if (share * width < 3 || nodes.length > 1500) break;
        deepest = Math.max(deepest, depth);
        const here = [...path, name], words = [seconds(child[0] * this.interval) + ", " + (100 * share).toPrecision(3) + " % of what is shown"];
        const button = make("button", {
          "data-path": here.join("\n"), "aria-label": name + ", " + words[0],
          style: { left: 100 * at + "%", width: 100 * share + "%", top: depth * row + "px", background: shade(name) },
          onclick: () => { this.path = here; this.draw(); },
          onpointermove: (event) => tip.show(event.clientX, event.clientY, name, ...words), onpointerleave: () => tip.hide(),
        }, share * width > 26 ? label(name) : "");
        nodes.push(button);
        visit(child, at, depth + 1, here);
        at += share;
      }
    };
    visit(tree, 0, 0, this.path);
    this.box.style.height = (deepest + 1) * row + "px";
    this.box.replaceChildren(...nodes);
    if (focused) for (const node of nodes) if (node.dataset.path === focused) node.focus();
  }
}
function label(name) {
  const [, what, where] = name.match(/^(.*) \(([^()]*)\)$/) || [null, name, ""];
  return what === "<module>" ? where.replace(/:\d+$/, "") : what;
}
function shade(name) {
  let hash = 7;
  for (const sign of name) hash = (hash * 31 + sign.codePointAt(0)) >>> 0;
  return `hsl(${20 + (hash % 38)} ${62 + (hash % 20)}% ${66 + ((hash >> 8) % 12)}%)`;
}

// Nodes in layers, by what they need.
function drawGraph(box, graph, link) {
  const number = graph.nodes.length, depth = new Array(number).fill(0);
  for (let turn = 0, moved = true; moved && turn < Math.min(number, 60); turn++) {
    moved = false;
    for (const [from, to] of graph.edges)
      if (from !== to && depth[to] < depth[from] + 1 && depth[from] < 40) { depth[to] = depth[from] + 1; moved = true; }
  }
  const levels = [...new Set(depth)].sort((a, b) => a - b), column = new Map(levels.map((d, i) => [d, i]));
  const w = graph.folded ? 190 : 150, h = graph.folded ? 44 : 26, gapX = 60, gapY = 12, rows = [];
  const at = graph.nodes.map((node, i) => {
    const x = column.get(depth[i]), y = (rows[x] = (rows[x] || 0) + 1) - 1;
    return { x: x * (w + gapX) + 4, y: y * (h + gapY) + 4 };
  });
  const high = Math.max(1, ...rows.filter(Boolean)) * (h + gapY) + 8, wide = Math.max(1, levels.length) * (w + gapX);
  const svg = make("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": "Graph of tasks" });
  const most = Math.max(1, ...graph.edges.map((edge) => edge[2]));
  for (const [from, to, n] of graph.edges) {
    if (from === to) continue;
    const a = at[from], b = at[to], x1 = a.x + w, y1 = a.y + h / 2, x2 = b.x, y2 = b.y + h / 2, bend = Math.max(24, Math.abs(x2 - x1) / 2);
    svg.append(make("path", { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, "stroke-width": 1 + 3 * Math.log1p(n) / Math.log1p(most) * (graph.folded ? 1 : 0) }));
  }
  const states = ["memory", "released", "assigned", "queued", "waiting", "failed"];
  const fill = { memory: "--memory", released: "--done", assigned: "--running", queued: "--queued", waiting: "--waiting", failed: "--failed" };
  graph.nodes.forEach((node, i) => {
    const { x, y } = at[i], holder = make(link ? "a" : "g", { svg: true, href: link && link(node.id) });
    const here = states.filter((state) => node[state]);
    holder.append(make("rect", { x, y, width: w, height: h, rx: 6, style: { fill: "var(--card)" } }));
    let left = x;
    for (const state of here) {
      const part = w * node[state] / node.tasks;
      holder.append(make("rect", { x: left, y: y + h - 6, width: part, height: 6, style: { fill: `var(${fill[state]})`, stroke: "none" } }));
      left += part;
    }
    const room = Math.floor(w / 6.4), name = node.name.length > room ? node.name.slice(0, room - 1) + "…" : node.name;
    holder.append(make("text", { x: x + 8, y: y + 15 }, name));
    if (graph.folded) holder.append(make("text", { x: x + 8, y: y + 30, style: { fill: "var(--soft)" } }, count(node.tasks) + " tasks"));
    const words = here.map((state) => count(node[state]) + " " + state).join(", ");
    holder.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, graph.folded ? node.name : node.id, words));
    holder.addEventListener("pointerleave", () => tip.hide());
    svg.append(holder);
  });
  box.replaceChildren(svg);
}

// Lines of what was measured: one of each quantile, over the time that this page is open.
function plot(rows, names) {
  const values = rows.flatMap((row) => names.map((name) => row[name])).filter((value) => value !== null && value !== undefined);
  const most = Math.max(...values, 1e-12), svg = make("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const name of names) {
    let d = "";
    rows.forEach((row, i) => {
      if (row[name] === null || row[name] === undefined) return;
      d += `${d ? "L" : "M"}${(rows.length > 1 ? 100 * i / (rows.length - 1) : 100).toFixed(1)} ${(38 - 36 * row[name] / most).toFixed(1)}`;
      if (rows.length === 1) d = `M0 ${(38 - 36 * row[name] / most).toFixed(1)}` + d.replace("M", "L");
    });
    if (d) svg.append(make("path", { d, class: name }));
  }
  return svg;
}
