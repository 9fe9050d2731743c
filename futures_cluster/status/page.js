"use strict";
// What is on the page: figures from the scheduler's events, or from the file that this page is part of (a report).

const report = document.getElementById("report") ? JSON.parse(document.getElementById("report").textContent) : null;
const token = new URLSearchParams(location.search).get("token");
const $ = (id) => document.getElementById(id);
const TABS = [["tasks", "Tasks"], ["workers", "Workers"], ["data", "Data"], ["graph", "Graph"], ["profile", "Profile"], ["failures", "Failures"], ["timings", "Timings"], ["log", "Log"]];
const STATES = [["done", "done"], ["memory", "in memory"], ["running", "running"], ["queued", "queued"], ["waiting", "waiting"], ["failed", "failed"]];
const MOST_ROWS = 100;
let snapshot = null, view = "tasks", subject = "", detail = null, source = null, ended = false;
let sorted = { by: "name", down: false }, shown = MOST_ROWS, rates = [];
const history = new Map();

function address(path, parameters) {
  const query = new URLSearchParams(parameters || {});
  if (token) query.set("token", token);
  const text = query.toString();
  return path + (text ? "?" + text : "");
}
async function ask(path, parameters) {
  const answer = await fetch(address("api/v1/" + path, parameters));
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}
const taskLink = (key) => "#/task/" + encodeURIComponent(key);
const functionLink = (name) => "#/function/" + encodeURIComponent(name);
const workerLink = (name) => "#/worker/" + encodeURIComponent(name);
const toTask = (key) => make("a", { href: taskLink(key) }, key);
const toWorker = (name) => (name && name !== "scheduler" ? make("a", { href: workerLink(name) }, name) : name || "");

const stream = new Stream($("stream"), (key) => { location.hash = taskLink(key); });
const flame = new Flame($("flame"));

// ---------------------------------------------------------------- tables

function cell(content, kind) {
  const attributes = kind ? { class: kind + (kind.startsWith("n ") || kind === "n" ? (["0", "0 B", "0 B/s"].includes(String(content)) ? " zero" : "") : "") } : {};
  return make("td", attributes, content instanceof Node ? content : String(content));
}
function fill(table, heads, rows) {
  const focused = table.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const head = make("thead", {}, make("tr", {}, ...heads.map((head) => (head instanceof Node ? head : make("th", { class: head[1], scope: "col" }, head[0])))));
  table.replaceChildren(head, make("tbody", {}, ...rows));
  if (focused) for (const node of table.querySelectorAll("[data-id]")) if (node.dataset.id === focused) node.focus();
}
function meter(parts, total, label) {
  const bar = make("div", { class: "meter", role: "img", "aria-label": label });
  for (const [name, number] of parts) if (number > 0) bar.append(make("i", { class: "s-" + name, style: { width: 100 * number / (total || 1) + "%" } }));
  return bar;
}
function gil(enabled) { return typeof enabled === "boolean" ? (enabled ? "on" : "off") : ""; }
function facts(list, rows) {
  list.replaceChildren(...rows.filter((row) => row[1] !== "" && row[1] !== null && row[1] !== undefined).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value instanceof Node ? value : String(value)))));
}
function table(heads, rows) {
  const node = make("table", {});
  fill(node, heads, rows);
  return make("div", { class: "scroll" }, node);
}
function empty(text) { return make("p", { class: "empty" }, text); }

// ---------------------------------------------------------------- the head

function hosts(workers) {
  const number = new Set(workers.map((row) => row.host)).size;
  return number === 1 ? "on one host" : number ? `on ${number} hosts` : "";
}

function showFigures() {
  const { tasks, workers } = snapshot, finished = snapshot.functions.reduce((sum, row) => sum + row.finished, 0);
  rates.push([snapshot.time, finished]);
  if (rates.length > 7) rates.shift();
  const [first, last] = [rates[0], rates[rates.length - 1]];
  const rate = last[0] > first[0] ? (last[1] - first[1]) / (last[0] - first[0]) : 0;
  const slots = workers.reduce((sum, row) => sum + row.slots, 0), busy = workers.reduce((sum, row) => sum + row.running, 0);
  const memory = workers.reduce((sum, row) => sum + (row.memory_bytes || 0), 0), limit = workers.reduce((sum, row) => sum + (row.memory_limit || 0), 0);
  const figure = (name, value, small) => make("div", {}, make("dt", {}, name), make("dd", {}, value, small ? make("small", {}, " " + small) : ""));
  $("figures").replaceChildren(
    figure("Workers", count(workers.length), hosts(workers)),
    figure("Running", count(busy), "of " + count(slots)),
    figure("Queued", count(tasks.queued), tasks.waiting ? "+ " + count(tasks.waiting) + " waiting" : ""),
    figure("In memory", count(tasks.memory), bytes(workers.reduce((sum, row) => sum + row.held_bytes, 0))),
    figure("Done", count(finished), report ? "" : count(rate) + "/s"),
    figure("Memory", bytes(memory), limit ? "of " + bytes(limit) : ""),
  );
  const failures = snapshot.functions.reduce((sum, row) => sum + row.raised, 0) || snapshot.failures.length;
  $("tabs").replaceChildren(...TABS.map(([name, text]) => make("li", {}, make("a", { href: "#/" + name, "aria-current": name === ({ worker: "workers", task: "tasks", function: "tasks" }[view] || view) ? "page" : null }, text, name === "failures" && failures ? make("b", {}, count(failures)) : ""))));
  const scheduler = snapshot.scheduler, versions = scheduler.versions || {};
  $("foot").replaceChildren(make("p", {}, `${(scheduler.addresses || []).join(" ")} · process ${scheduler.pid} on ${scheduler.host}, since ${new Date(scheduler.since * 1000).toLocaleString("en-GB")} · ` + Object.entries(versions).map(([name, text]) => name + " " + text).join(", ")));
}

// ---------------------------------------------------------------- what changes with time

const use = [];
function remember() {
  const { workers, time } = snapshot, sum = (name) => workers.reduce((total, row) => total + (row[name] || 0), 0);
  if (use.length && use[use.length - 1].time === time) return;
  use.push({ time, cpu: sum("cpu"), memory: sum("memory_bytes"), network: sum("in_bytes_s") });
  if (use.length > 600) use.shift();
}
function showUse() {
  $("over-time").hidden = Boolean(report) || use.length < 2;
  if (use.length < 2) return;
  const last = use[use.length - 1], span = seconds(last.time - use[0].time);
  const figure = (name, key, shown) => make("div", { class: "plot" }, make("h3", {}, name), make("p", {}, `${shown(last[key])} now, at most ${shown(Math.max(...use.map((row) => row[key])))} in ${span}`), plot(use, [key]));
  $("use").replaceChildren(figure("Processor", "cpu", (value) => value.toFixed(value < 10 ? 1 : 0) + " cores"), figure("Memory", "memory", bytes), figure("Network, between workers", "network", (value) => bytes(value) + "/s"));
}
const waitsOf = (row) => row.queued + row.assigned - row.running + row.unknown;
function showOverall() {
  const sum = (part) => snapshot.functions.reduce((total, row) => total + part(row), 0);
  const done = sum((row) => row.finished), failed = sum((row) => row.failed), running = sum((row) => row.running), waits = sum((row) => waitsOf(row)), waiting = sum((row) => row.waiting);
  const total = done + failed + running + waits + waiting, share = total ? Math.floor(100 * done / total) : 0;
  $("overall").hidden = !total;
  $("overall").replaceChildren(meter([["done", done], ["running", running], ["queued", waits], ["waiting", waiting], ["failed", failed]], total, share + " percent of all tasks done"),
    make("p", { class: "note" }, [`${share} % of ${count(total)} tasks since the start`, failed ? count(failed) + " failed" : "", report || !snapshot.left_s ? "" : `about ${seconds(snapshot.left_s)} left`].filter(Boolean).join(", ")));
}

// ---------------------------------------------------------------- tasks

// The scheduler names functions with tasks first; as long as they are few, rows keep the places where they came up.
function placed(rows) {
  for (const row of rows) colourOf(row.name);
  if (rows.length > 20) return rows;
  const places = new Map([...colours.keys()].map((name, place) => [name, place]));
  return [...rows].sort((a, b) => places.get(a.name) - places.get(b.name));
}
function showFunctions() {
  showOverall();
  const rows = placed(snapshot.functions);
  $("no-functions").hidden = rows.length > 0;
  $("functions").hidden = !rows.length;
  const heads = [["Function", ""], ["", "wide"], ["Done", "n"], ["In memory", "n less"], ["Running", "n"], ["Queued", "n"], ["Waiting", "n less"], ["Failed", "n less"], ["Mean", "n less"], ["Held", "n less"]];
  fill($("functions"), heads, rows.map((row) => {
    const waits = waitsOf(row);
    const total = row.finished + row.waiting + waits + row.running + row.failed, memory = Math.min(row.memory, row.finished);
    const parts = [["memory", memory], ["done", row.finished - memory], ["running", row.running], ["queued", waits], ["waiting", row.waiting], ["failed", row.failed]];
    const share = total ? Math.floor(100 * row.finished / total) : 0;
    const name = cell(report ? make("span", {}, row.name) : make("a", { href: functionLink(row.name) }, row.name), "name");
    name.title = row.name;
    name.prepend(make("i", { class: "dot", style: { display: "inline-block", width: "9px", height: "9px", "border-radius": "3px", "margin-right": "8px", background: colourOf(row.name) } }));
    return make("tr", { "data-function": row.name }, name, make("td", { class: "wide" }, meter(parts, total, share + " percent done")),
      cell(count(row.finished), "n"), cell(count(row.memory), "n less"), cell(count(row.running), "n"), cell(count(waits), "n"), cell(count(row.waiting), "n less"), cell(count(row.failed), "n less"), cell(seconds(row.duration_s), "n less"), cell(bytes(row.held_bytes || 0), "n less"));
  }));
}
function showLimits() {
  const rows = snapshot.limits;
  $("with-limits").hidden = !rows.length;
  fill($("limits"), [["Limit", ""], ["", "wide"], ["In use", "n"], ["Of", "n"], ["Waiting tasks", "n"]], rows.slice(0, MOST_ROWS).map((row) => make("tr", {}, cell(row.name, "name"), make("td", { class: "wide" }, meter([["running", row.used]], row.total, `${+row.used.toPrecision(6)} of ${row.total} in use`)), cell(+row.used.toPrecision(6), "n"), cell(row.total, "n"), cell(count(row.waiting), "n"))));
}
function showStream() {
  if (stream.paused) return;
  const ends = stream.all.map((row) => row[4]);
  stream.now = report ? (ends.length ? ends.reduce((a, b) => Math.max(a, b)) : snapshot.time) : snapshot.time;
  if (report && ends.length) stream.span = stream.span || 30;
  stream.layout(snapshot.workers);
  stream.draw();
  const names = new Set(), begin = stream.now - stream.span;
  let moves = false, spills = false;
  for (const row of stream.all) if (row[4] > begin) { if (row[0] === 0) names.add(row[2]); else if (row[0] === 1) moves = true; else spills = true; }
  const entry = (name, colour) => make("li", {}, make("i", { style: { background: colour } }), make("span", {}, name));
  $("stream-legend").replaceChildren(...[...names].slice(0, 24).map((name) => entry(name, colourOf(name))), ...(moves ? [entry("transfer", "var(--soft)")] : []), ...(spills ? [entry("to disk", "var(--lost)")] : []));
  $("stream-note").textContent = names.size || moves ? (snapshot.stream_dropped ? `Too much to show it all: ${count(snapshot.stream_dropped)} entries are left out.` : "") : "Nothing has run in this time. Workers record runs only while a page is open.";
}

// ---------------------------------------------------------------- workers

const COLUMNS = [["name", "Worker"], ["host", "Host", "less"], ["status", "Status", "less"], ["running", "Running", "n"], ["committed", "Tasks", "n less"], ["cpu", "CPU", ""], ["memory_bytes", "Memory", ""], ["spilled_bytes", "On disk", "n less"], ["results", "Results", "n less"], ["held_bytes", "Held", "n"], ["in_bytes_s", "In", "n less"], ["out_bytes_s", "Out", "n less"], ["loop_delay_s", "Delay", "n less"]];

function showWorkers() {
  showUse();
  const wanted = $("filter").value.toLowerCase();
  const rows = snapshot.workers.filter((row) => !wanted || row.name.toLowerCase().includes(wanted) || row.host.toLowerCase().includes(wanted));
  const value = (row) => row[sorted.by] ?? -1;
  rows.sort((a, b) => {
    const x = value(a), y = value(b), order = typeof x === "string" ? byName(x, y) : x - y;
    return sorted.down ? -order : order;
  });
  const heads = COLUMNS.map(([key, name, kind]) => make("th", { class: kind, scope: "col", "aria-sort": sorted.by === key ? (sorted.down ? "descending" : "ascending") : null },
    make("button", { "data-id": key, onclick: () => { sorted = { by: key, down: sorted.by === key ? !sorted.down : kind !== undefined && key !== "host" }; showWorkers(); } }, name)));
  fill($("workers"), heads, rows.slice(0, shown).map((row) => {
    const scale = Math.max(row.memory_limit || 0, (row.memory_bytes || 0) + (row.spilled_bytes || 0), 1);
    const words = `${bytes(row.managed_bytes)} of results, ${bytes(row.unmanaged_bytes)} of all else, ${bytes(row.spilled_bytes || 0)} on disk` + (row.memory_limit ? `, of ${bytes(row.memory_limit)}` : "");
    const memory = meter([["memory", row.managed_bytes], ["unmanaged", row.unmanaged_bytes], ["spilled", row.spilled_bytes]], row.memory_limit ? scale : Math.max(...snapshot.workers.map((other) => other.memory_bytes || 0), scale), words);
    memory.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, row.name, words));
    memory.addEventListener("pointerleave", () => tip.hide());
    const cpu = make("div", { style: { display: "flex", gap: "6px", "align-items": "center" } }, meter([["cpu", row.cpu]], Math.max(1, row.slots), "CPU"), make("span", { class: "when" }, row.cpu === null ? "" : Math.round(100 * row.cpu) + " %"));
    cpu.firstChild.classList.add("small");
    const held = make("div", { style: { display: "flex", gap: "6px", "align-items": "center" } }, memory, make("span", { class: "when" }, bytes(row.memory_bytes)));
    return make("tr", { "data-worker": row.name }, cell(make("a", { href: workerLink(row.name), "data-id": "w " + row.name }, row.name), "name"), cell(row.host, "less"), cell(make("span", { class: "tag" }, row.status), "less"), cell(row.running + "/" + row.slots, "n"), cell(count(row.committed), "n less"), cell(cpu), cell(held),
      cell(bytes(row.spilled_bytes || 0), "n less"), cell(count(row.results), "n less"), cell(bytes(row.held_bytes), "n"), cell(bytes(row.in_bytes_s) + "/s", "n less"), cell(bytes(row.out_bytes_s) + "/s", "n less"), cell(seconds(row.loop_delay_s), "n less"));
  }));
  const note = $("workers-note");
  note.replaceChildren(rows.length > shown ? make("button", { onclick: () => { shown += 400; showWorkers(); } }, `Show more: ${count(shown)} of ${count(rows.length)}`) : rows.length ? "" : "No workers" + (wanted ? " of this name." : ". Start some."));
}

// ---------------------------------------------------------------- data

function showData() {
  const rows = snapshot.transfers, names = [...new Set(rows.flatMap((row) => [row[0], row[1]]))].sort(byName);
  const box = $("transfers");
  if (!rows.length) box.replaceChildren(empty("No worker has needed results of another."));
  else if (names.length <= 20) {
    const by = new Map(rows.map((row) => [row[0] + "\n" + row[1], row])), most = Math.max(1, ...rows.map((row) => row[2]));
    const matrix = make("table", { class: "matrix" });
    fill(matrix, [["from ↓ to →", ""], ...names.map((name) => [name, ""])], names.map((from) => make("tr", {}, make("th", { scope: "row" }, from), ...names.map((to) => {
      const row = by.get(from + "\n" + to), td = make("td", {}, row ? bytes(row[2]) : "");
      if (row) { td.style.background = `color-mix(in srgb, var(--running) ${Math.round(8 + 52 * row[2] / most)}%, transparent)`; td.title = `${from} to ${to}: ${bytes(row[2])} in ${row[3]} fetches, ${bytes(row[2] / (row[4] || 1))}/s`; }
      return td;
    }))));
    box.replaceChildren(matrix);
  } else box.replaceChildren(table([["From", ""], ["To", ""], ["Bytes", "n"], ["Fetches", "n"], ["Rate", "n"]], rows.slice(0, MOST_ROWS).map((row) => make("tr", {}, cell(toWorker(row[0])), cell(toWorker(row[1])), cell(bytes(row[2]), "n"), cell(count(row[3]), "n"), cell(bytes(row[2] / (row[4] || 1)) + "/s", "n")))));
  const { before_bytes: before, after_bytes: after } = snapshot.compression;
  facts($("movement"), [["Between workers", bytes(rows.reduce((sum, row) => sum + row[2], 0))], ["Bandwidth, as measured", bytes(snapshot.bandwidth_bytes_s) + "/s"], ["Taken over by idle workers", count(snapshot.stealing.moved) + " tasks"], ["Compressed", before ? `${bytes(before)} to ${bytes(after)}` : "nothing"], ["On disk", bytes(snapshot.workers.reduce((sum, row) => sum + (row.spilled_bytes || 0), 0))]]);
}

// ---------------------------------------------------------------- graph, profile, failures, log, timings

async function showGraph() {
  const graph = report ? report.graph : await ask("graph");
  $("graph-note").textContent = graph.folded ? `${count(graph.tasks)} tasks, folded by function` + (graph.shown < graph.tasks ? `; lines are those of ${count(graph.shown)} of them` : "") : `${count(graph.tasks)} tasks`;
  if (graph.nodes.length) drawGraph($("graph"), graph, graph.folded ? !report && functionLink : taskLink); else $("graph").replaceChildren(empty("No tasks are held now."));
}
async function showProfile(worker) {
  const found = report ? { interval_s: .02, tree: report.profile } : await ask("profile", worker ? { worker } : {});
  $("profile-of").textContent = worker && !report ? "Where tasks of " + worker + " spend their time" : "Where tasks spend their time";
  flame.tree = found.tree; flame.interval = found.interval_s;
  flame.draw();
  $("flame-note").textContent = found.tree[0] ? `${count(found.tree[0])} samples, one every ${found.interval_s * 1000} ms of each thread that executes.` : "No samples yet. Workers sample their threads only while this view is open.";
  $("speedscope").href = report ? "#" : address("api/v1/profile.speedscope.json", worker ? { worker } : {});
  $("speedscope").hidden = Boolean(report);
}
function lastLine(row) {
  const lines = row.text.trimEnd().split("\n"), line = lines[lines.length - 1];
  return line.startsWith(row.kind + ": ") ? line.slice(row.kind.length + 2) : line === row.kind ? "" : line;
}
function failure(row, open) {
  const summary = make("summary", {}, make("time", {}, clock(row.time)), make("span", { class: "kind" }, row.kind || "Error"), " in ", make("b", {}, row.function), make("span", { class: "when" }, row.worker ? " on " + row.worker : ""), make("span", { class: "last" }, lastLine(row)));
  return make("details", { open, "data-id": row.key + row.time }, summary, make("p", { class: "note" }, "Task ", toTask(row.key)), make("pre", { tabindex: "0" }, row.text || "Only the client can read this error, by result()."));
}
function showFailures() {
  const open = new Set([...document.querySelectorAll("#failures details[open]")].map((node) => node.dataset.id));
  const rows = [...snapshot.failures].sort((a, b) => (b.time || 0) - (a.time || 0)); // the newest first
  const signature = JSON.stringify(rows.map((row) => [row.key, row.time, row.final]));
  if ($("failures").dataset.shown === signature) return;
  $("failures").dataset.shown = signature;
  $("failures").replaceChildren(...(rows.length ? rows.map((row) => failure(row, open.has(row.key + row.time))) : [empty("Nothing has failed.")]));
}
function showLog() {
  fill($("events"), [["Time", ""], ["What", ""], ["", ""]], snapshot.events.slice().reverse().slice(0, MOST_ROWS).map(([time, what, ...rest]) => make("tr", {}, cell(make("span", { class: "when" }, clock(time))), cell(what), cell(rest.join(": "), "wrap"))));
  fill($("log"), [["Time", ""], ["Where", ""], ["Level", "less"], ["", ""]], snapshot.logs.slice().reverse().slice(0, 200).map(([time, where, level, , text]) => make("tr", {}, cell(make("span", { class: "when" }, clock(time))), cell(toWorker(where)), cell(make("span", { class: "level-" + level }, level.toLowerCase()), "less"), cell(text, "wrap"))));
  for (const id of ["events", "log"]) {
    const none = !$(id).querySelector("tbody tr");
    $(id).hidden = none;
    $("no-" + id).hidden = !none;
  }
}
function plots(place, metrics) {
  const nodes = [];
  for (const [name, spans] of Object.entries((metrics || {}).timings || {})) {
    const key = place + "\n" + name, rows = history.get(key) || [];
    if (!rows.length || rows[rows.length - 1].time !== snapshot.time) rows.push({ time: snapshot.time, ...spans.minute });
    if (rows.length > 240) rows.shift();
    history.set(key, rows);
    const minute = spans.minute, start = spans.start;
    nodes.push(make("div", { class: "plot", "data-metric": name }, make("h3", {}, name.replaceAll("_", " ")), make("p", {}, minute.count ? `last minute: ${seconds(minute.p50)}, 90 % below ${seconds(minute.p90)}, 99 % below ${seconds(minute.p99)}` : "not in the last minute"), make("p", {}, `since the start: ${count(start.count)}, median ${seconds(start.p50)}, most ${seconds(start.max)}`), plot(rows, ["p99", "p90", "p50"])));
  }
  for (const [name, spans] of Object.entries((metrics || {}).counts || {})) {
    const key = place + "\n#" + name, rows = history.get(key) || [], shown = name.includes("bytes") ? bytes : count;
    if (!rows.length || rows[rows.length - 1].time !== snapshot.time) rows.push({ time: snapshot.time, p50: spans.start });
    if (rows.length > 240) rows.shift();
    history.set(key, rows);
    nodes.push(make("div", { class: "plot", "data-metric": name }, make("h3", {}, name.replaceAll("_", " ")), make("p", {}, `${shown(spans.start)} since the start, ${shown(spans.minute)} in the last minute`), plot(rows, ["p50"])));
  }
  return nodes.length ? nodes : [empty("Nothing was measured yet.")];
}
function showTimings() {
  const scheduler = snapshot.scheduler;
  facts($("scheduler"), [["CPU", Math.round(100 * scheduler.cpu) + " % of a core"], ["Memory", bytes(scheduler.memory_bytes)], ["Event loop's delay", seconds(scheduler.loop_delay_s)], ["GIL", gil(scheduler.gil_enabled)], ["Clients", snapshot.clients.length], ["Who looks", snapshot.viewers]]);
  $("timings").replaceChildren(...plots("scheduler", snapshot.metrics));
}

// ---------------------------------------------------------------- one worker, one task

function showWorker() {
  const row = snapshot.workers.find((other) => other.name === subject), box = $("v-worker");
  if (report && report.workers) detail = report.workers[subject] || null;
  const heading = make("div", { class: "card" }, make("div", { class: "head" }, make("h2", {}, subject), make("div", { class: "tools" }, report ? null : make("a", { class: "button", href: "#/profile/" + encodeURIComponent(subject) }, "Profile"), make("a", { class: "button", href: "#/workers" }, "All workers"))));
  if (!row) { heading.append(empty("There is no worker of this name now. The log says how it ended.")); box.replaceChildren(heading); return; }
  const list = make("dl", { class: "facts" });
  facts(list, [["Status", row.status], ["Host", `${row.host || "this one"}, process ${row.pid}`], ["Address", row.address], ["Running", `${row.running} of ${row.slots}`], ["Committed", `${count(row.committed)}, ${seconds(row.occupancy_s)} of work`], ["CPU", row.cpu === null ? "" : Math.round(100 * row.cpu) + " % of a core"],
    ["Memory", bytes(row.memory_bytes) + (row.memory_limit ? " of " + bytes(row.memory_limit) : "")], ["Of that, results", bytes(row.managed_bytes)], ["On disk", bytes(row.spilled_bytes || 0)], ["Results held", `${count(row.results)}, ${bytes(row.held_bytes)}`], ["Came in", `${bytes(row.received_bytes)}, now ${bytes(row.in_bytes_s)}/s`], ["Went out", `${bytes(row.sent_bytes)}, now ${bytes(row.out_bytes_s)}/s`], ["Event loop's delay", seconds(row.loop_delay_s)], ["Raised", count(row.raised)], ["GIL", gil(row.gil_enabled)], ["Heard of", row.report_age_s === null ? "" : seconds(row.report_age_s) + " ago"]]);
  heading.append(list);
  const cards = [heading], card = (title, ...nodes) => cards.push(make("div", { class: "card" }, make("h2", {}, title), ...nodes));
  if (detail) {
    const inner = detail.detail || { fetching: [], on_disk: [], runs: [] };
    card("Tasks here", detail.tasks.length ? table([["Task", ""], ["Function", ""], ["", ""], ["For", "n"]], detail.tasks.slice(0, MOST_ROWS).map((task) => make("tr", {}, cell(toTask(task.key), "name"), cell(task.function), cell(make("span", { class: "tag" }, task.running ? "runs" : "waits for a thread")), cell(seconds(task.since_s), "n")))) : empty("None."));
    if (inner.fetching.length) card("On the way here", table([["Result", ""], ["From", ""], ["Size", "n"]], inner.fetching.map(([key, size, from]) => make("tr", {}, cell(toTask(key), "name"), cell(toWorker(from)), cell(bytes(size), "n")))));
    card("Holds", detail.held.length ? table([["Result", ""], ["Function", ""], ["Copies", "n"], ["Size", "n"]], detail.held.map((task) => make("tr", {}, cell(toTask(task.key), "name"), cell(task.function), cell(task.copies, "n"), cell(bytes(task.size_bytes), "n")))) : empty("No results, but perhaps small ones, which the scheduler keeps."));
    if (inner.on_disk.length) card("On disk", table([["Result", ""], ["Size", "n"]], inner.on_disk.map(([key, size]) => make("tr", {}, cell(toTask(key), "name"), cell(bytes(size), "n")))));
    card("Timings and counts", make("div", { class: "plots" }, ...plots(subject, detail.metrics)));
    if ((detail.traffic || []).length) card("Came from", table([["Worker", ""], ["Bytes", "n"], ["Fetches", "n"], ["Rate", "n"]], detail.traffic.map(([peer, size, n, time]) => make("tr", {}, cell(toWorker(peer)), cell(bytes(size), "n"), cell(count(n), "n"), cell(bytes(size / (time || 1)) + "/s", "n")))));
  }
  box.replaceChildren(...cards);
}
async function showTask() {
  const box = $("v-task");
  const task = report ? { key: subject, known: false, explanation: ["A report does not hold the stories of tasks; what failed stands under Failures."], runs: [], failures: snapshot.failures.filter((row) => row.key === subject) } : await ask("task", { key: subject });
  if (view !== "task" || task.key !== subject) return;
  const list = make("dl", { class: "facts" });
  const card = make("div", { class: "card" }, make("div", { class: "head" }, make("h2", {}, "Task ", task.key)), make("ul", { class: "words" }, ...task.explanation.map((line) => make("li", {}, line))), list);
  const cards = [card];
  if (task.known) {
    facts(list, [["Function", task.function], ["State", task.state], ["Worker", task.worker ? toWorker(task.worker) : ""], ["Since", seconds(task.since_s)], ["Attempt", task.attempt || "none"], ["Priority", task.priority], ["Retries left", task.retries_left], ["Workers lost while it ran", task.deaths], ["Size of the result", bytes(task.size_bytes)], ["Held by", task.held_by.join(", ")], ["Wanted by", task.wanted_by.join(", ")]]);
    for (const [title, rows, number] of [["Inputs", task.inputs, task.inputs_number], ["Used by", task.used_by, task.used_by_number]])
      if (rows.length) cards.push(make("div", { class: "card" }, make("h2", {}, `${title}: ${count(number)}`), table([["Task", ""], ["Function", ""], ["State", ""]], rows.map((row) => make("tr", {}, cell(toTask(row.key), "name"), cell(row.function), cell(make("span", { class: "tag" }, row.state)))))));
  }
  if (task.runs.length) cards.push(make("div", { class: "card" }, make("h2", {}, "Ran"), table([["From", ""], ["Worker", ""], ["Took", "n"], ["Size", "n"]], task.runs.map(([worker, start, end, n, size, failed]) => make("tr", {}, cell(clock(start)), cell(toWorker(worker)), cell(seconds(end - start) + (n > 1 ? ` with ${n - 1} others` : "") + (failed ? ", raised" : ""), "n"), cell(bytes(size), "n"))))));
  for (const row of task.failures) cards.push(make("div", { class: "card" }, failure(row, true)));
  box.replaceChildren(...cards);
}

async function showFunction() {
  const found = await ask("function", { name: subject });
  if (view !== "function" || found.name !== subject) return;
  const row = snapshot.functions.find((other) => other.name === subject), list = make("dl", { class: "facts" });
  const cards = [make("div", { class: "card" }, make("h2", {}, subject), list)];
  if (row) facts(list, [["Done", count(row.finished)], ["Raised", count(row.raised)], ["In memory", count(row.memory)], ["Running", count(row.running)], ["Queued", count(row.queued + row.assigned - row.running)], ["Waiting", count(row.waiting)], ["Failed", count(row.failed)], ["Mean duration", seconds(row.duration_s)], ["Held by workers", bytes(row.held_bytes || 0)]]);
  if (!found.tasks.length) cards[0].append(empty(found.known ? "No task of this function is held now." : "There is no function of this name."));
  else cards.push(make("div", { class: "card" }, make("h2", {}, "Tasks"), table([["Task", ""], ["State", ""], ["Worker", ""]], found.tasks.map((task) => make("tr", {}, cell(toTask(task.key), "name"), cell(make("span", { class: "tag" }, task.state)), cell(toWorker(task.worker))))), make("p", { class: "note" }, "The oldest in each state.")));
  $("v-function").replaceChildren(...cards);
}

// ---------------------------------------------------------------- events and routes

const VIEWS = { tasks: () => { showFunctions(); showLimits(); showStream(); }, workers: showWorkers, data: showData, graph: showGraph, profile: () => showProfile(subject), failures: showFailures, log: showLog, timings: showTimings, worker: showWorker, task: showTask, function: showFunction };
let drawing = false, pressed = false;
// Elements are made again each time. A viewer who is about to click, or has selected text, keeps what is under the
// pointer; one who uses the keyboard keeps the focus.
function isHeld() {
  const selection = getSelection();
  return pressed || (selection && !selection.isCollapsed && $("view").contains(selection.anchorNode));
}
function nameOf(node) {
  return node && node !== document.body ? [node.tagName, node.getAttribute("href") || node.dataset.id || node.dataset.path || node.id].join(" ") : "";
}
async function show() {
  if (!snapshot || isHeld()) return;
  const focused = document.activeElement, name = nameOf(focused);
  showFigures();
  if (!drawing) {
    drawing = true;
    try { await VIEWS[view](); } catch (error) { if (!ended) throw error; } finally { drawing = false; }
  }
  if (name && !focused.isConnected && document.activeElement === document.body)
    for (const node of document.querySelectorAll("a, button, pre, summary")) if (nameOf(node) === name) { node.focus({ preventScroll: true }); break; }
}
function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const before = view + subject, watched = view === "worker" ? subject : "";
  view = name in VIEWS ? name : "tasks";
  try { subject = decodeURIComponent(rest.join("/")); } catch { subject = ""; }
  for (const each of Object.keys(VIEWS)) $("v-" + each).hidden = each !== view;
  document.title = `${{ worker: subject, task: subject, function: subject }[view] || (TABS.find((tab) => tab[0] === view) || [])[1] || ""} · futures_cluster`;
  tip.hide();
  drawing = false;
  if (before !== view + subject) { detail = null; flame.path = []; scrollTo(0, 0); }
  if (watched !== (view === "worker" ? subject : "") && !report) connect();
  show();
}
function connect() {
  if (source) source.close();
  const live = $("live");
  source = new EventSource(address("api/v1/events", view === "worker" ? { worker: subject } : {}));
  stream.rows = [];
  source.onopen = () => { live.textContent = "live"; live.className = "live on"; stream.rows = []; };
  source.onerror = () => { ended = true; live.textContent = source.readyState === 2 ? "ended" : "the scheduler does not answer"; live.className = "live off"; };
  source.addEventListener("stream", (event) => { const { chunks, running } = JSON.parse(event.data); stream.add(chunks); stream.run(running); });
  source.addEventListener("worker", (event) => { detail = JSON.parse(event.data); });
  source.addEventListener("snapshot", (event) => { ended = false; snapshot = JSON.parse(event.data); remember(); requestAnimationFrame(show); });
}

$("states").replaceChildren(...STATES.map(([state, name]) => make("li", {}, make("i", { class: "s-" + state }), make("span", {}, name))));
$("filter").addEventListener("input", () => { shown = MOST_ROWS; showWorkers(); });
$("find").addEventListener("submit", (event) => { event.preventDefault(); if ($("key").value) location.hash = taskLink($("key").value); });
$("flame-out").addEventListener("click", () => { flame.path.pop(); flame.draw(); });
$("pause").addEventListener("click", (event) => { stream.paused = !stream.paused; event.target.setAttribute("aria-pressed", stream.paused); event.target.textContent = stream.paused ? "Go on" : "Pause"; showStream(); });
for (const button of document.querySelectorAll("[data-span]")) button.addEventListener("click", () => { stream.span = Number(button.dataset.span); mark(); if (snapshot) { stream.layout(snapshot.workers); stream.draw(); } });
function mark() { for (const button of document.querySelectorAll("[data-span]")) button.setAttribute("aria-pressed", Number(button.dataset.span) === stream.span); }
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("view").focus(); });
addEventListener("pointerdown", () => { pressed = true; });
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { pressed = false; });
addEventListener("hashchange", route);
addEventListener("resize", () => { if (snapshot && view === "tasks") stream.draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (snapshot && view === "tasks") stream.draw(); });
mark();

if (report) {
  snapshot = report.snapshot;
  stream.add(report.stream.chunks);
  stream.now = snapshot.time;
  stream.run(report.stream.running);
  const starts = stream.all.map((row) => row[3]), ends = stream.all.map((row) => row[4]);
  stream.whole = true;
  if (starts.length) stream.span = Math.max(.001, (ends.reduce((a, b) => Math.max(a, b)) - starts.reduce((a, b) => Math.min(a, b))) * 1.02);
  for (const node of [$("find"), ...document.querySelectorAll("[data-span], #pause")]) node.hidden = true;
  $("title").textContent = report.title;
  $("live").textContent = "report of " + report.when;
  route();
} else { route(); connect(); }
