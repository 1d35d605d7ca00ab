
"use strict";

// Keys, tags and namespaces may be whatever clients have sent. They become text nodes, and nothing else: nothing here
// parses markup.

// Whether or not this page's address ends with a slash. Without its user and password, with which `fetch` takes none.
const base = location.origin + location.pathname.replace(/\/$/, "");
const PAUSE = 5000;
const HOUR = 3600;

const find = (id) => document.getElementById(id);

function add(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const make = (name, attributes = {}, ...children) => add(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) =>
  add(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// Characters that cannot be seen, or change the order of others, are shown by their numbers.
const visible = (text) =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
const code = (text) => make("code", {}, text === "" ? "(empty)" : visible(text));
// One of a few words, which is not broken.
const word = (text) => make("code", { class: "word" }, text);

// Figures as text.

const NONE = "–";
const number = (value) => value.toLocaleString("en");
const percent = (share) => (share === null ? NONE : `${(100 * share).toFixed(1)} %`);
function time(seconds) {
  if (seconds === null) return NONE;
  if (seconds === 0) return "0 s";
  const units = [[1e-3, "µs", 1e6], [1, "ms", 1e3], [120, "s", 1], [7200, "min", 1 / 60], [172800, "h", 1 / 3600]];
  const [, unit, factor] = units.find(([limit]) => seconds < limit) ?? [0, "d", 1 / 86400];
  const value = seconds * factor;
  return `${value < 10 && unit !== "min" ? +value.toFixed(1) : Math.round(value)} ${unit}`;
}
function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`;
}
const ago = (seconds) => (seconds < 1 ? "just now" : `${time(Math.round(seconds))} ago`);

// Replaces what is in an element, but not under the fingers of somebody who uses it.
function show(id, ...children) {
  const element = find(id);
  if (element.contains(document.activeElement) && element !== document.activeElement) return;
  element.replaceChildren(...children);
}

// A cell is a text, a number or a node. The first one of a row is its title.
function table(titles, rows, empty) {
  if (rows.length === 0) return make("p", { class: "quiet" }, empty);
  const numeric = (at) => rows.some((row) => row[at] instanceof Number);
  const cell = (value, at) => {
    const attributes = numeric(at) ? { class: "number" } : {};
    if (at === 0) attributes.scope = "row";
    return make(at === 0 ? "th" : "td", attributes, value instanceof Node ? value : String(value));
  };
  const head = titles.map((title, at) => make("th", numeric(at) ? { scope: "col", class: "number" } : { scope: "col" }, title));
  const body = rows.map((row) => make("tr", {}, ...row.map(cell)));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}
// A text that stands in a column of numbers.
class Figure extends Number {
  constructor(text) {
    super(0);
    this.text = text;
  }
  toString() {
    return this.text;
  }
}
const figure = (text) => new Figure(text);
const count = (value) => figure(number(value));

function bar(share) {
  const width = `${100 * share}%`;
  return draw("svg", { class: "bar", "aria-hidden": "true" }, draw("rect", { width, height: "100%", rx: "2" }));
}

// Plots.

// Lines over the time of `history`, one for each of `lines`: { values, class }. The highest value is `top`.
function plot(id, history, lines, top, label, title) {
  const holder = find(id);
  const [width, height, left, bottom] = [Math.max(260, holder.clientWidth), 170, 52, 20];
  const span = Math.max(1, ...history.map((bar) => bar.from));
  const x = (seconds) => left + (width - left - 1) * (1 - seconds / span);
  const y = (value) => height - bottom - (height - bottom - 8) * (value / top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const share of [0, 0.5, 1]) {
    const at = y(share * top);
    svg.append(
      draw("line", { class: "grid", x1: left, x2: width, y1: at, y2: at }),
      draw("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, label(share * top)),
    );
  }
  svg.append(
    draw("text", { x: left, y: height - 4 }, ago(span)),
    draw("text", { x: width, y: height - 4, "text-anchor": "end" }, "now"),
  );
  for (const line of lines) {
    let [path, open] = ["", false];
    history.forEach((bar, at) => {
      const value = line.values[at];
      if (value === null) return void (open = false);
      path += `${open ? "V" : `M${x(bar.from).toFixed(1)} `}${y(value).toFixed(1)}H${x(bar.to).toFixed(1)}`;
      open = true;
    });
    svg.append(draw("path", { class: line.class, d: path }));
  }
  holder.replaceChildren(svg);
}

// The next 1, 2 or 5 of its power of ten.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function showPlots(figures) {
  const { history, last_hour: hour } = figures;
  const span = time(Math.min(HOUR, figures.last_hour_seconds));
  const ratio = history.map((bar) => bar.hit_ratio);
  const summary = hour.hit_ratio === null ? `No requests in the last ${span}.` : `${percent(hour.hit_ratio)} in the last ${span}.`;
  find("ratio-summary").replaceChildren(summary);
  plot("ratio", history, [{ values: ratio, class: "first" }], 1, (share) => `${Math.round(100 * share)} %`, `Hit ratio over time. ${summary}`);

  const [mean, p95] = [history.map((bar) => bar.loads.mean), history.map((bar) => bar.loads.p95)];
  const failed = hour.loads.failed ? `, ${number(hour.loads.failed)} of them failed` : "";
  const text = hour.loads.ended ? `${number(hour.loads.ended)} loads in the last ${span}${failed}: ` : `No loads in the last ${span}.`;
  const parts = hour.loads.ended
    ? [make("b", {}, "― mean"), ` ${time(hour.loads.mean)}, `, make("b", { class: "second" }, "╌ 95 % within"), ` ${time(hour.loads.p95)}`]
    : [];
  find("loads-summary").replaceChildren(text, make("span", { class: "legend" }, ...parts));
  const top = round(Math.max(1e-3, ...mean, ...p95));
  const lines = [{ values: p95, class: "second" }, { values: mean, class: "first" }];
  plot("loads", history, lines, top, time, `Load times over time. ${find("loads-summary").textContent}`);
}

// Figures.

function showState(figures) {
  const ok = (text, is) => make("span", { class: is ? "good" : "bad" }, `${is ? "✓" : "✗"} ${text}`);
  const none = (value) => (value ? make("span", { class: "bad" }, number(value)) : "none");
  // A fault while it goes on: what is over stays in the sum only.
  const recent = figures.recent_failures;
  const failed = (all, lately) => (lately ? none(all) : all ? number(all) : "none");
  const holds = (usage) => `${number(usage.entries)} entries, ${bytes(usage.bytes)}`;
  const subscription = {
    unsupported: "not supported",
    "not-begun": "not needed so far",
    inactive: ok("lost", false),
    active: ok("active", true),
  };
  const tiles = [
    ["Store", figures.backend],
    ["Cache", figures.enabled ? ok("on", true) : ok("switched off", false)],
    ["Circuit breaker", ok(figures.breaker.replaceAll("-", " "), figures.breaker === "closed")],
    ["Change subscription", subscription[figures.subscription]],
    ["Loads under way", number(figures.in_flight)],
    ["Pending invalidations", none(figures.pending_invalidations)],
    ["Failed store calls", failed(figures.store_failures, recent.store)],
    ["Unreadable records", failed(figures.decode_failures, recent.decode)],
  ];
  if (figures.feeds) {
    const lost = figures.lost_feeds;
    tiles.push(["Change feeds", ok(lost ? `${number(lost)} lost` : "connected", !lost)]);
  }
  if (figures.encode_failures) tiles.push(["Values not encoded", failed(figures.encode_failures, recent.encode)]);
  if (figures.pending_purges) tiles.push(["Pending purges of CDNs", none(figures.pending_purges)]);
  if (figures.store_failure) {
    const { operation, error, seconds_ago: seconds } = figures.store_failure;
    tiles.push(["Last failed store call", `${ago(seconds)}: ${operation}: ${error}`]);
  }
  if (figures.store) tiles.push(["In the store", holds(figures.store)]);
  if (figures.near) tiles.push(["In the near tier", holds(figures.near)]);
  find("state").replaceChildren(
    ...tiles.map(([title, value]) => make("div", {}, make("dt", {}, title), make("dd", {}, value))),
  );
}

const OUTCOMES = [
  ["hit_near", "hit, near tier"],
  ["hit_store", "hit, store"],
  ["stale", "stale"],
  ["negative_hit", "negative hit"],
  ["miss", "miss"],
  ["outage", "outage"],
  ["bypassed", "bypassed"],
];
const FURTHER = [
  ["misses that waited for another's load", (counts) => counts.coalesced],
  ["answered stale after a failure", (counts) => counts.stale_if_error],
  ["answered 304", (counts) => counts.not_modified],
  ["loads", (counts) => counts.loads.ended],
  ["loads that failed", (counts) => counts.loads.failed],
  ["values stored", (counts) => counts.stored],
  ["evicted to make room", (counts) => counts.evictions],
  ["hits that differ from their source", (counts) => counts.diverged],
];

// The title of a column: an hour, or less after the start.
const lately = (figures) => `last ${figures.last_hour_seconds < 0.97 * HOUR ? time(Math.round(figures.last_hour_seconds)) : "hour"}`;

function showRequests(figures) {
  const { last_hour: hour, since_start: start } = figures;
  const share = (value) => (hour.requests ? value / hour.requests : 0);
  const rows = OUTCOMES.map(([name, title]) => {
    const value = hour.outcomes[name];
    return [title, bar(share(value)), count(value), figure(hour.requests ? percent(share(value)) : NONE), count(start.outcomes[name])];
  });
  rows.push(["all", "", count(hour.requests), "", count(start.requests)]);
  const further = FURTHER.map(([title, of]) => [title, count(of(hour)), count(of(start))]);
  const titles = [lately(figures), "in all"];
  show("outcomes", table(["", "", titles[0], "share", titles[1]], rows, ""), table(["besides", ...titles], further, ""));
}

function showReasons(id, figures, kind, empty) {
  const [hour, counts] = [figures.last_hour[kind], figures.since_start[kind]];
  const recent = new Map(hour.map(({ reason, count: value }) => [reason, value]));
  const rows = counts.map(({ reason, meaning, count: value }) => [
    make("span", {}, word(reason), make("span", { class: "quiet" }, meaning ? ` ${meaning}` : "")),
    count(recent.get(reason) ?? 0),
    count(value),
  ]);
  show(id, table(["", lately(figures), "in all"], rows, empty));
}

// The name of a target, with a button to look it up if it is a whole key.
function target({ target: kind, namespace, name, is_cut: isCut }) {
  if (kind === "everything") return make("span", {}, "(all)");
  const parts = [code(name), isCut ? " …" : ""];
  if (kind === "key" && namespace) parts.push(make("span", { class: "quiet" }, " in "), code(namespace));
  if (kind === "key" && !isCut) {
    const button = make("button", { type: "button", class: "small" }, "Look up");
    button.addEventListener("click", () => lookUpKey(namespace, name));
    parts.push(" ", button);
  }
  return make("span", {}, ...parts);
}

function showEvents({ refusals, invalidations }) {
  const refused = refusals.map((event) => [target(event), word(event.reason), count(event.count), figure(ago(event.seconds_ago))]);
  show("refusals", table(["", "why", "times", "last"], refused, "None so far."));
  const ended = invalidations.map((event) => [target(event), `${event.target}${event.soft ? ", softly" : ""}`, count(event.count), figure(ago(event.seconds_ago))]);
  show("invalidations", table(["", "what", "times", "last"], ended, "None so far."));
}

function showNamespaces({ namespaces, more_namespaces: more }) {
  const rows = namespaces.map((namespace) => [
    namespace.name === "" ? "(default)" : code(namespace.name),
    count(namespace.requests),
    figure(percent(namespace.hit_ratio)),
    count(namespace.loads.ended),
    figure(time(namespace.loads.mean)),
    count(namespace.stored),
    count(namespace.refused),
    count(namespace.invalidations),
    count(namespace.evictions),
  ]);
  const titles = ["", "requests", "hits", "loads", "mean", "stored", "refused", "invalidated", "evicted"];
  show("namespaces", table(titles, rows, "None so far."), more ? make("p", { class: "quiet" }, `and ${number(more)} more`) : "");
}

// Asking the server.

async function ask(path, options = {}) {
  const response = await fetch(`${base}/${path}`, { cache: "no-store", ...options });
  if (response.status === 401 || response.redirected) throw new Error("You are no longer authorized: reload this page.");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered with status ${response.status}.`);
  return answer;
}

let last = null;

function showAll() {
  if (last === null) return;
  find("name").replaceChildren(visible(last.cache));
  document.title = `Cache ${visible(last.cache)}`;
  showState(last);
  showPlots(last);
  showRequests(last);
  showNamespaces(last);
  showReasons("refused", last, "refused", "Everything was stored so far.");
  showReasons("bypassed", last, "bypassed", "Everything was looked up so far.");
  showEvents(last);
}

async function update() {
  const status = find("updated");
  try {
    last = await ask("stats");
    showAll();
    status.className = "";
    status.removeAttribute("role");
    status.replaceChildren(`Updated at ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    status.className = "error";
    status.setAttribute("role", "alert");
    status.replaceChildren(`Not up to date. ${error.message}`);
  }
}

async function keepUpdating() {
  for (;;) {
    if (find("live").checked && !document.hidden) await update();
    await new Promise((wake) => setTimeout(wake, PAUSE));
  }
}

// Looking up.

function entry(title, tier) {
  if (tier === null) return [title, "nothing", "", "", "", "", ""];
  const content = tier.detail ? make("span", {}, `${tier.content}: `, code(tier.detail)) : tier.content;
  const stale = `${time(tier.stale_while_revalidate)} / ${time(tier.stale_if_error)}`;
  const fresh = tier.fresh_for === null ? "for ever" : time(tier.fresh_for);
  return [title, content, tier.state, figure(time(tier.age)), figure(fresh), figure(stale), figure(bytes(tier.bytes))];
}

function found(seen) {
  const titles = ["", "content", "state", "age", "lifetime", "stale windows", "size"];
  const tiers = [entry("store", seen.store)];
  if (seen.near !== null || last?.near) tiers.unshift(entry("near tier", seen.near));
  const parts = [make("p", {}, code(seen.key)), make("div", { class: "scroll" }, table(titles, tiers, ""))];
  const list = (title, values) => {
    if (values.length === 0) return;
    parts.push(make("p", {}, make("span", { class: "quiet" }, `${title}: `), ...values.flatMap((value, at) => (at ? [", ", value] : [value]))));
  };
  list("Tags", (seen.store ?? seen.near)?.tags.map(code) ?? []);
  if (seen.response) {
    const { status, body_bytes: size, cache_control: control, etag } = seen.response;
    list("Response", [`status ${status}`, bytes(size), ...[control, etag].filter((value) => value !== null).map(code)]);
  }
  list("Varies by", seen.varies_by?.map(code) ?? []);
  list("Not stored", seen.refused.map(({ reason, seconds_ago: seconds }) => make("span", {}, word(reason), ` ${ago(seconds)}`)));
  parts.push(...seen.variants.map(found));
  return make("div", { class: "entry" }, ...parts);
}

async function lookUp(query) {
  const result = find("found");
  result.replaceChildren("Looking …");
  try {
    const answer = await ask(`inspect?${new URLSearchParams(query)}`);
    const note = answer.note === undefined ? [] : [make("p", {}, `Beware: ${visible(answer.note)}.`)];
    result.replaceChildren(...answer.found.map(found), ...note);
  } catch (error) {
    result.replaceChildren(make("p", { class: "error" }, error.message));
  }
}

function lookUpKey(namespace, name) {
  const { kind, name: field, namespace: place } = find("look-up-form").elements;
  [kind.value, field.value, place.value] = ["key", name, namespace];
  arrange(find("look-up-form"));
  find("look-up").scrollIntoView();
  field.focus();
  lookUp({ key: name, namespace });
}

// Purging.

async function purge(order) {
  const result = find("purged");
  result.replaceChildren("Purging …");
  try {
    const done = await ask("purge", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(order),
    });
    const removed = done.removed === undefined ? "" : ` ${number(done.removed)} removed.`;
    const note = done.note === undefined ? "" : ` Beware: ${visible(done.note)}.`;
    result.replaceChildren(make("p", {}, `Purged ${done.soft ? "softly" : "for good"}.${removed}${note}`));
    update();
  } catch (error) {
    result.replaceChildren(make("p", { class: "error" }, error.message));
  }
}

// Forms.

const EXAMPLES = { url: "/items/42", key: "42", tag: "user:42", namespace: "users" };

// Shows the fields that the chosen kind needs.
function arrange(form) {
  const kind = form.elements.kind.value;
  for (const field of form.querySelectorAll("[data-for]")) field.hidden = field.dataset.for !== kind;
  form.elements.name.placeholder = EXAMPLES[kind];
}

function listen(form, act) {
  form.elements.kind.addEventListener("change", () => arrange(form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { kind, name, namespace, soft } = form.elements;
    const target = { [kind.value]: name.value };
    if (kind.value === "key" && namespace.value !== "") target.namespace = namespace.value;
    act(target, soft?.checked ?? false);
  });
  arrange(form);
}

listen(find("look-up-form"), lookUp);
listen(find("purge-form"), (target, soft) => purge({ ...target, soft }));
find("live").addEventListener("change", (event) => event.target.checked && update());
document.addEventListener("visibilitychange", () => document.hidden || (find("live").checked && update()));
addEventListener("resize", showAll);
keepUpdating();
