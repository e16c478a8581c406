"use strict";
// The same code draws the live page and the saved report; a report carries its data and asks nobody.
const saved = document.getElementById("data") ? JSON.parse(document.getElementById("data").textContent) : null;
const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "g", "path", "line", "text", "title", "circle", "rect"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== null && v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
};

// Stored times are UTC.
const time = (s) => (s ? new Date(s.replace(" ", "T") + "Z") : null);
const two = (n) => String(n).padStart(2, "0");
const day = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}`;
const full = (d) => `${day(d)} ${clock(d)}:${two(d.getSeconds())}`;
function ago(s, now) {
  const t = time(s);
  if (!t) return "never";
  const seconds = Math.max(0, (now - t) / 1000);
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}
const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-US").replace(/,/g, "\u202f"));
function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1e3) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toPrecision(3)} kB`;
  return n < 1e9 ? `${(n / 1e6).toPrecision(3)} MB` : `${(n / 1e9).toPrecision(3)} GB`;
}
const plain = (v, digits) => String(Number(v.toPrecision(digits))).replace(/e([+-]?\d+)$/, "·10^$1");
function amount(v, unit, digits = 3) {
  if (v === null || v === undefined) return "–";
  if (unit === "bytes") return bytes(Math.round(v));
  if (unit === "bytes/s") return `${bytes(Math.round(v))}/s`;
  if (unit === "s") return v !== 0 && Math.abs(v) < 1 ? (Math.abs(v) < 1e-3 ? `${plain(v * 1e6, digits)} µs` : `${plain(v * 1e3, digits)} ms`) : `${plain(v, digits)} s`;
  return unit === "count" || unit === "level" ? plain(v, digits) : `${plain(v, digits)} ${unit}`;
}
// An axis has one unit for all of its ticks.
function scale(unit, max) {
  const pick = (steps) => steps.find(([at]) => max >= at) || steps.at(-1);
  if (unit === "s") { const [, by, name] = pick([[1, 1, "seconds"], [1e-3, 1e3, "milliseconds"], [0, 1e6, "microseconds"]]); return { by, name }; }
  if (unit === "bytes" || unit === "bytes/s") { const [, by, name] = pick([[1e9, 1e-9, "GB"], [1e6, 1e-6, "MB"], [1e3, 1e-3, "kB"], [0, 1, "bytes"]]); return { by, name: unit === "bytes" ? name : `${name} a second` }; }
  return { by: 1, name: UNITS[unit] || unit };
}
const UNITS = { s: "seconds", "%": "percent", bytes: "bytes", "bytes/s": "bytes a second", count: "number", "rows/s": "rows a second", "%/day": "percent a day", level: "level" };

// ---- charts

const STEPS = [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000].map((s) => s * 1000);
function timeTicks(from, to, most) {
  const step = STEPS.find((s) => (to - from) / s <= most) || STEPS.at(-1);
  // Local time: ticks fall on full hours and days of the reader.
  const shift = new Date(from).getTimezoneOffset() * 60000;
  const ticks = [];
  for (let t = Math.ceil((from - shift) / step) * step + shift; t <= to; t += step) ticks.push(t);
  return { ticks, show: (t) => { const d = new Date(t); return step >= 86400000 ? day(d).slice(5) : step < 60000 ? full(d).slice(11) : clock(d); } };
}
function valueTicks(top) {
  const raw = top / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let v = 0; v <= top * 1.0001; v += step) ticks.push(v);
  if (ticks.at(-1) < top) ticks.push(ticks.at(-1) + step);
  return ticks;
}

function chart(box, data) {
  box.replaceChildren();
  const points = data.series.flatMap((s) => s.points);
  if (!points.length) {
    box.append(make("p", { class: "empty" }, `No value of ${data.title.toLowerCase()} in this time. The monitor takes them: dbint monitor`));
    return;
  }
  const width = Math.max(280, box.clientWidth || 600), height = width < 500 ? 230 : 290;
  const left = 58, right = 12, top = 26, bottom = 42;
  const { from, to } = data;
  const highest = Math.max(...points.map((p) => p[1])) || 1;
  const { by, name } = scale(data.unit, highest);
  const values = valueTicks(highest * by);
  const max = values.at(-1) / by;
  const x = (t) => left + ((t - from) / (to - from)) * (width - left - right);
  const y = (v) => top + (1 - v / max) * (height - top - bottom);
  const last = data.series.map((s) => `${s.db} ${amount(s.points.at(-1)[1], data.unit)}`).join(", ");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${data.title} from ${full(new Date(from))} to ${full(new Date(to))}; last values: ${last}` });
  for (const v of values) {
    svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: y(v / by), y2: y(v / by) }));
    svg.append(make("text", { x: left - 8, y: y(v / by) + 4, "text-anchor": "end", class: "tick-y" }, v >= 1e4 ? count(Math.round(v)) : plain(v, 4)));
  }
  const { ticks, show } = timeTicks(from, to, Math.max(2, Math.floor((width - left) / 76)));
  for (const t of ticks) {
    svg.append(make("line", { class: "axis", x1: x(t), x2: x(t), y1: height - bottom, y2: height - bottom + 5 }));
    svg.append(make("text", { x: x(t), y: height - bottom + 18, "text-anchor": "middle", class: "tick-x" }, show(t)));
  }
  svg.append(make("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  const spans = day(new Date(from)) === day(new Date(to)) ? day(new Date(to)) : `${day(new Date(from))} to ${day(new Date(to))}`;
  svg.append(make("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "title-x" }, `Local time, ${spans}`));
  svg.append(make("text", { x: 0, y: 13, class: "title-y" }, `${data.title} (${name})`));
  data.series.forEach((s, i) => {
    let path = "", before = null;
    for (const [t, v] of s.points) {
      // A pause of the monitor is a gap, not a line.
      path += `${before === null || t - before > data.gap ? "M" : "L"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
      before = t;
    }
    svg.append(make("path", { class: "line", d: path, stroke: `var(--c${i})` }));
    if (s.points.length < 40) for (const [t, v] of s.points) svg.append(make("circle", { cx: x(t), cy: y(v), r: 2.2, fill: `var(--c${i})` }));
  });
  const cross = make("line", { class: "axis", y1: top, y2: height - bottom, x1: -9, x2: -9 });
  svg.append(cross);
  const tip = make("div", { class: "tip", hidden: true });
  const plot = make("div", { class: "plot" }, svg, tip);
  svg.addEventListener("pointermove", (e) => {
    const r = svg.getBoundingClientRect(), at = from + (((e.clientX - r.left) * (width / r.width) - left) / (width - left - right)) * (to - from);
    const near = data.series.map((s) => [s, s.points.reduce((a, p) => (Math.abs(p[0] - at) < Math.abs(a[0] - at) ? p : a))]).filter(([, p]) => Math.abs(p[0] - at) <= data.gap);
    tip.hidden = !near.length;
    if (!near.length) return;
    const t = near[0][1][0];
    cross.setAttribute("x1", x(t));
    cross.setAttribute("x2", x(t));
    tip.replaceChildren(make("div", {}, full(new Date(t))), ...near.map(([s, p]) => make("div", {}, `${s.db}: ${amount(p[1], data.unit)}`)));
    tip.style.top = `${top}px`;
    if (e.clientX - r.left > r.width / 2) { tip.style.left = "auto"; tip.style.right = `${r.right - e.clientX + 14}px`; } else { tip.style.right = "auto"; tip.style.left = `${e.clientX - r.left + 14}px`; }
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cross.setAttribute("x1", -9); cross.setAttribute("x2", -9); });
  box.append(plot);
  const legend = make("ul", { class: "legend" });
  data.series.forEach((s, i) => legend.append(make("li", {}, make("i", { style: `background:var(--c${i})` }), `${s.db} ${amount(s.points.at(-1)[1], data.unit)}`)));
  box.append(legend);
  if (data.total > data.series.length) box.append(make("p", { class: "note" }, `The ${data.series.length} highest of ${count(data.total)} databases.`));
}

function spark(points) {
  if (!points || points.length < 2) return "–";
  const v = points.map((p) => p[1]), low = Math.min(...v), high = Math.max(...v), from = points[0][0], to = points.at(-1)[0];
  const d = points.map((p, i) => `${i ? "L" : "M"}${(2 + ((p[0] - from) / (to - from || 1)) * 80).toFixed(1)} ${(high > low ? 19 - ((p[1] - low) / (high - low)) * 16 : 11).toFixed(1)}`).join("");
  return make("svg", { class: "spark", viewBox: "0 0 84 22", role: "img", "aria-label": `size from ${bytes(v[0])} to ${bytes(v.at(-1))} in 24 hours` }, make("path", { class: "line", d, stroke: "var(--accent)" }));
}

// ---- tables

const badge = (word) => make("span", { class: `badge ${word}` }, word);
const order = { CRITICAL: 0, UNREACHABLE: 1, WARNING: 2, HEALTHY: 3 };
const COLUMNS = [
  { key: "db_name", name: "Database", text: true },
  { key: "health_status", name: "Health", text: true, sort: (r) => order[r.health_status] ?? 9, show: (r) => badge(r.health_status) },
  { key: "active_alerts", name: "Alerts", show: (r) => count(r.active_alerts) },
  { key: "size_bytes", name: "Size of limit", sort: (r) => r.size_bytes / r.limit_bytes, show: size },
  { key: "trend", name: "24 h", sort: (r) => r.growth_percent_day ?? 0, show: (r) => spark(r.trend), text: true },
  { key: "rows", name: "Rows", show: (r) => count(r.rows) },
  { key: "query_time_s", name: "Probe", show: (r) => amount(r.query_time_s, "s") },
  { key: "last_sync", name: "Last sync", show: (r, now) => (r.last_sync ? ago(r.last_sync, now) : "–") },
  { key: "last_proven_backup", name: "Proven backup", show: (r, now) => ago(r.last_proven_backup, now) },
];
function size(r) {
  const part = r.limit_bytes ? (r.size_bytes / r.limit_bytes) * 100 : 0;
  const box = make("div", { class: "size", title: `${count(r.size_bytes)} of ${count(r.limit_bytes)} bytes` }, `${bytes(r.size_bytes)} · ${part < 10 ? part.toFixed(1) : Math.round(part)} %`);
  box.append(make("span", { class: "bar" }, make("i", { class: part >= 100 ? "over" : part >= 90 ? "near" : "", style: `width:${Math.min(100, part)}%` })));
  return box;
}
let state = saved ? saved.state : null, sorted = { key: null, down: false }, filter = "", lastFleet = "";

function fleet(now) {
  const rows = state.fleet.filter((r) => r.db_name.toLowerCase().includes(filter.toLowerCase()));
  const by = COLUMNS.find((c) => c.key === sorted.key);
  if (by) {
    const value = by.sort || ((r) => r[by.key]);
    rows.sort((a, b) => { const [x, y] = [value(a) ?? "", value(b) ?? ""]; return (x < y ? -1 : x > y ? 1 : 0) * (sorted.down ? -1 : 1); });
  }
  const body = rows.map((r) => make("tr", { "data-db": r.db_name }, ...COLUMNS.map((c, i) => {
    const cell = i === 0 ? make("th", { scope: "row", title: r.db_path }, r.db_name) : make("td", { class: c.text ? "" : "n", "data-label": c.name }, c.show(r, now));
    if (c.key === "size_bytes") cell.classList.remove("n");
    return cell;
  })));
  const head = make("tr", {}, ...COLUMNS.map((c) => make("th", { scope: "col", class: c.text || c.key === "size_bytes" ? "" : "n", "aria-sort": sorted.key === c.key ? (sorted.down ? "descending" : "ascending") : "none" },
    make("button", { type: "button", onclick: () => { sorted = { key: c.key, down: sorted.key === c.key ? !sorted.down : !c.text }; fleet(new Date()); } }, c.name))));
  $("fleet-head").replaceChildren(head);
  $("fleet-body").replaceChildren(...body);
  const left = state.totals.databases - state.fleet.length;
  $("fleet-note").textContent = left > 0 ? `${count(state.fleet.length)} of ${count(state.totals.databases)} shown, the gravest and largest first. Type a name to find others.` : rows.length ? "" : "No database has this name.";
  $("fleet-note").hidden = !$("fleet-note").textContent;
}

function simple(id, columns, rows, empty) {
  const box = $(id);
  if (!rows || !rows.length) { box.replaceChildren(make("p", { class: "empty" }, empty)); return; }
  const head = make("thead", {}, make("tr", {}, ...columns.map((c) => make("th", { scope: "col", class: c.number ? "n" : "" }, c.name))));
  const body = make("tbody", {}, ...rows.map((r) => make("tr", {}, ...columns.map((c, i) => make(i ? "td" : "th", { class: c.number ? "n" : c.wide ? "wide" : "", "data-label": c.name, scope: i ? null : "row" }, c.show(r))))));
  box.replaceChildren(make("div", { class: "scroll" }, make("table", { class: "cards" }, head, body)));
}

function alerts(now) {
  const list = $("alerts");
  if (!state.alerts.length) { list.replaceChildren(make("li", { class: "empty" }, "No alert is open.")); return; }
  const focus = document.activeElement?.dataset?.alert;
  list.replaceChildren(...state.alerts.map((a) => {
    const row = make("li", { "data-alert-row": a.alert_id }, badge(a.severity), make("span", { class: "text" }, a.message, make("small", {}, `since ${full(time(a.opened_at))}, ${ago(a.opened_at, now)}`)));
    if (a.state === "ACKNOWLEDGED") row.append(make("span", { class: "badge ACKNOWLEDGED" }, `seen by ${a.acknowledged_by}`));
    else if (!saved) row.append(make("button", { type: "button", "data-alert": a.alert_id, "aria-label": `Acknowledge: ${a.message}`, onclick: acknowledge }, "Acknowledge"));
    return row;
  }));
  if (focus) list.querySelector(`[data-alert="${CSS.escape(focus)}"]`)?.focus();
}
async function acknowledge(e) {
  const button = e.currentTarget;
  button.disabled = true;
  const answer = await fetch("/api/acknowledge", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ alert_id: button.dataset.alert }) }).catch(() => null);
  if (!answer?.ok) { button.disabled = false; button.textContent = "Failed, try again"; return; }
  await load();
}

function draw() {
  const now = saved ? time(state.now) : new Date(), t = state.totals;
  $("when").textContent = saved ? `As of ${full(now)}` : `Updated ${full(now).slice(11)}`;
  $("t-databases").textContent = count(t.databases);
  $("t-health").textContent = [["critical", t.critical], ["unreachable", t.unreachable], ["warning", t.warning], ["healthy", t.healthy]].filter(([, n]) => n).map(([w, n]) => `${count(n)} ${w}`).join(", ") || "none registered";
  $("t-size").textContent = bytes(t.bytes);
  $("t-rows").textContent = `${count(t.rows)} rows in ${count(t.tables)} tables`;
  $("t-alerts").textContent = count(state.alerts_open);
  $("t-alerts-note").textContent = state.alerts_open ? `${count(state.alerts_critical)} critical` : "all quiet";
  const m = state.monitor || { state: "STOPPED" };
  $("t-monitor").replaceChildren(badge(m.state));
  $("t-monitor-note").textContent = m.state === "RUNNING" ? `round ${count(m.rounds)}, ${ago(m.heartbeat_at, now)}` : "start it with: dbint monitor";
  $("t-backup").textContent = `${count(t.proven)} of ${count(t.databases)}`;
  alerts(now);
  // A table under the pointer is not rebuilt unless something in it changed.
  const key = JSON.stringify([state.fleet, filter, sorted, saved ? 0 : Math.floor(now / 60000)]);
  if (key !== lastFleet && !$("fleet-head").contains(document.activeElement)) { lastFleet = key; fleet(now); }
  simple("syncs", [
    { name: "From", show: (r) => r.source_db }, { name: "To", show: (r) => r.target_db },
    { name: "Succeeded", number: true, show: (r) => `${count(r.successful_syncs)} of ${count(r.total_syncs)}` },
    { name: "Mean time", number: true, show: (r) => amount(r.avg_duration, "s") }, { name: "Last", number: true, show: (r) => ago(r.last_sync, now) },
  ], state.syncs, "No synchronisation in the last 7 days.");
  simple("slow", [
    { name: "Statement", wide: true, show: (r) => r.sql }, { name: "Calls", number: true, show: (r) => count(r.calls) },
    { name: "Mean", number: true, show: (r) => amount(r.avg_ms / 1000, "s") }, { name: "Slowest", number: true, show: (r) => amount(r.max_ms / 1000, "s") },
  ], state.slow, "");
  $("slow-section").hidden = !state.slow.length;
  simple("history", [
    { name: "Time", show: (r) => full(time(r.at)) }, { name: "Event", show: (r) => badge(r.event) },
    { name: "Alert", wide: true, show: (r) => r.message }, { name: "By", show: (r) => r.who || "–" },
  ], state.history, "No alert has been raised yet.");
}

// ---- asking

async function load() {
  try {
    const answer = await fetch(`/api/state?q=${encodeURIComponent(filter)}`, { cache: "no-store" });
    if (answer.status === 401) { lost("This page's token is no longer valid: the dashboard was started anew. Open the address it printed."); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    state = await answer.json();
    $("lost").hidden = true;
    draw();
  } catch (e) {
    lost("The dashboard does not answer: was it stopped? Trying again.");
  }
}
function lost(text) { $("lost").textContent = text; $("lost").hidden = false; }

async function plot() {
  const metric = $("metric").value, hours = $("hours").value;
  if (saved) { const d = saved.series[metric]; if (d) chart($("chart"), d); return; }
  const answer = await fetch(`/api/series?metric=${encodeURIComponent(metric)}&hours=${hours}`).catch(() => null);
  if (answer?.ok) chart($("chart"), await answer.json());
}

$("metric").addEventListener("change", plot);
$("hours").addEventListener("change", plot);
let typing;
$("filter").addEventListener("input", (e) => { filter = e.target.value; clearTimeout(typing); typing = setTimeout(saved ? draw : load, 200); });
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(plot, 150); });
if (saved) { draw(); plot(); } else {
  load();
  plot();
  setInterval(() => { if (!document.hidden) load(); }, 3000);
  setInterval(() => { if (!document.hidden) plot(); }, 15000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { load(); plot(); } });
}
