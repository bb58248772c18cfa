"use strict";
// Shows the events of /events. What comes is only ever set as text, never as markup.

const MOST_POINTS = 600;
const STALE = 5000; // ms without an event after which nothing is known
const AGAIN = 2000;
const KEY = "sender-live-token";
const byId = (id) => document.getElementById(id);
const points = [];
let token = sessionStorage.getItem(KEY) || "";
let last = 0;
let personal = false;
let ended = false;

function count(number) { return Math.round(number).toLocaleString("en-US"); }

function decimal(number) {
  return number >= 100 ? count(number) : number.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function words(name) { return name.replaceAll("_", " "); }

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// A table whose columns in `wordy` hold words; `rows` hold texts or elements.
function table(head, rows, wordy = [0]) {
  const scroll = element("div", undefined, "scroll");
  scroll.tabIndex = 0;
  const made = element("table");
  const top = made.createTHead().insertRow();
  head.forEach((name, index) => {
    const cell = element("th", name, wordy.includes(index) ? "word" : "");
    cell.scope = "col";
    top.append(cell);
  });
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, index) => {
      const cell = element(index ? "td" : "th", undefined, wordy.includes(index) ? "word" : "");
      if (!index) cell.scope = "row";
      cell.append(value);
      line.append(cell);
    });
  }
  scroll.append(made);
  return scroll;
}

// The same of texts alone: one of the same shape stays where it is, with its focus, and only its texts change.
function showTable(id, head, rows, wordy) {
  const cells = [...byId(id).querySelectorAll("tbody th, tbody td")];
  const texts = rows.flat();
  if (!texts.length || cells.length !== texts.length) { fill(id, table(head, rows, wordy)); return; }
  cells.forEach((cell, index) => { if (cell.textContent !== texts[index]) cell.textContent = texts[index]; });
}

function fill(id, content) { byId(id).replaceChildren(content); }

function showFacts(now) {
  const lane = mainLane(now);
  const latency = now.latency;
  const inDoubt = now.in_doubt ?? now.counts.in_doubt ?? 0;
  const facts = [];
  if (lane) {
    facts.push([lane.limit === null ? "rate" : `rate, limit ${decimal(lane.limit)}/s`, `${decimal(lane.rate)}/s`, ""]);
  }
  if (latency) facts.push(["median", `${decimal(latency.p50)} ms`, ""], ["99 % within", `${decimal(latency.p99)} ms`, ""]);
  if (now.counts.sent !== undefined) facts.push(["sent", count(now.counts.sent), "good"]);
  if (now.counts.ok !== undefined) facts.push(["answered well", count(now.counts.ok), "good"]);
  if (now.counts.delivered !== undefined) {
    facts.push(["delivered", count(now.counts.delivered), "good"], ["bounced", count(now.counts.bounced), "bad"],
      ["not known yet", count(now.counts.open), ""]);
  } else facts.push(["in doubt", count(inDoubt), inDoubt ? "doubt" : ""]);
  if (lane) facts.push(["in hand", count(lane.in_hand), ""]);
  const list = document.createDocumentFragment();
  for (const [name, value, tone] of facts) {
    const fact = element("div", undefined, "fact");
    fact.append(element("dt", name), element("dd", value, tone));
    list.append(fact);
  }
  fill("facts", list);
}

function mainLane(now) {
  return now.lanes.reduce((best, lane) => (best === null || lane.requests > best.requests ? lane : best), null);
}

function showProgress(now) {
  byId("progress").hidden = now.done === null;
  if (now.done === null) return;
  const share = now.total ? Math.min(1, now.done / now.total) : null;
  if (share === null) byId("bar").removeAttribute("value");
  else byId("bar").value = share;
  const of = now.total === null ? " of a number not known" : ` of ${count(now.total)}, ${Math.floor(share * 100)} %`;
  setText("done", `${count(now.done)}${of}`);
  byId("bar").setAttribute("aria-label", "done");
}

function showTables(now) {
  const books = Object.entries(now.counts).map(([name, value]) => [words(name), count(value)]);
  showTable("books", ["what became of the jobs", "jobs"], books);
  const problems = now.problems.map((one) => [
    one.code, words(one.status), count(one.count), new Date(one.at * 1000).toLocaleTimeString(),
  ]);
  if (problems.length) showTable("problems", ["code", "as", "times", "last at"], problems, [0, 1]);
  else fill("problems", element("p", "none so far", "sub"));
  const several = new Set(now.lanes.map((lane) => lane.workspace)).size > 1;
  const lanes = now.lanes.map((lane) => [
    several ? `${lane.workspace}/${lane.name}` : lane.name, lane.waits ? `waits ${decimal(lane.waits)} s`
      : lane.breaker === "closed" ? "works" : `breaker ${lane.breaker}`,
    count(lane.requests), decimal(lane.rate), lane.limit === null ? "none" : decimal(lane.limit), lane.most === null ? "-" : count(lane.most),
    count(lane.in_hand), count(lane.waiting), count(lane.http_429), count(lane.openings),
  ]);
  byId("lanes-card").hidden = !lanes.length;
  showTable("lanes", ["lane", "state", "requests", "now/s", "limit/s", "most in a window", "in hand", "waiting",
    "answered 429", "breaker opened"], lanes, [0, 1]);
  showOptional("conditions", now.conditions, ["condition", "state"],
    (one) => [one.name, one.reason || "met"], [0, 1]);
  showOptional("queues", now.queues, ["queue", "jobs there", "came again", "given back"],
    (one) => [one.name, one.lag === null ? "not known" : count(one.lag), count(one.redeliveries), count(one.give_backs)]);
  showOptional("replicas", now.replicas, ["replica", "last seen", "handed over"],
    (one) => [`${one.number}${one.own ? ", this one" : ""}`, `${decimal(one.seen)} s ago`, count(one.handed_over)]);
}

function showOptional(name, rows, head, cells, wordy) {
  byId(`${name}-card`).hidden = !rows.length;
  if (rows.length) showTable(name, head, rows.map(cells), wordy);
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Lines over the seconds of late; a gap where nothing was known. Each curve is [class, values].
function draw(id, curves, told, unit) {
  const chart = byId(id);
  const most = Math.max(1, ...curves.flatMap(([, values]) => values.filter((value) => value !== null)));
  const top = most * 1.15; // live.css puts the word for `most` at its height
  const width = Math.max(60, points.length);
  const svg = shape("svg", { viewBox: `0 0 ${width - 1} 100`, preserveAspectRatio: "none", role: "img", "aria-label": told });
  svg.append(shape("line", { class: "axis", x1: 0, x2: width - 1, y1: 100, y2: 100 }));
  for (const [name, values] of curves) {
    let path = "";
    let pen = "M";
    values.forEach((value, index) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${width - values.length + index} ${(100 - (value / top) * 100).toFixed(2)}`;
      pen = "L";
    });
    if (path) svg.append(shape("path", { class: `line ${name}`, d: path }));
  }
  chart.replaceChildren(svg, element("span", `${decimal(most)}${unit}`, "scale most"), element("span", "0", "scale low"),
    element("span", `the last ${clock(width)}`, "when"));
}

function showCharts(now) {
  const lane = mainLane(now);
  byId("rate-card").hidden = !lane;
  byId("latency-card").hidden = !lane;
  const rates = points.map((point) => point[1]);
  const limits = points.map((point) => point[2]);
  const rate = lane ? decimal(lane.rate) : "0";
  const shared = now.replicas.length > 1 ? `, of this replica; the limit is shared by ${now.replicas.length}` : "";
  setText("rate-note", lane ? `lane ${lane.name}${shared}` : "");
  draw("rate-chart", [["first", rates], ["limit", limits]], `${rate} requests a second now`, "/s");
  const latency = now.latency;
  draw("latency-chart", [["second", points.map((point) => point[4])], ["first", points.map((point) => point[3])]],
    latency ? `median ${decimal(latency.p50)} ms, 99 % within ${decimal(latency.p99)} ms` : "no request yet", " ms");
}

function showState(text, className) {
  setText("state", text);
  byId("state").className = `state ${className}`;
}

function show(now) {
  ended = now.state === "ended";
  document.title = `${now.state}: sender ${now.command}`;
  setText("command", `sender ${now.command}`);
  showState(words(now.state), now.state);
  const left = now.left === null || ended ? "" : `, ${clock(now.left)} left`;
  setText("clock", `${clock(now.elapsed)} since the start${left}`);
  byId("note").hidden = !now.note;
  setText("note", now.note);
  showProgress(now);
  showFacts(now);
  showTables(now);
  showCharts(now);
  showOperate(now);
  setText("footer", `seen at ${new Date(now.wall * 1000).toLocaleTimeString()}`);
  document.documentElement.dataset.number = String(Number(document.documentElement.dataset.number || 0) + 1);
}

function onEvent(name, data) {
  last = Date.now();
  const found = JSON.parse(data);
  if (name === "history") {
    points.splice(0, points.length, ...found.points);
    personal = found.personal;
    byId("operate").dataset.token = String(found.token);
    return;
  }
  if (found.point && (!points.length || found.point[0] > points[points.length - 1][0])) {
    points.push(found.point);
    if (points.length > MOST_POINTS) points.shift();
  }
  show(found);
}

function headers() { return token ? { Authorization: `Bearer ${token}` } : {}; }

async function follow() {
  const answer = await fetch("/events", { headers: headers(), cache: "no-store" });
  if (answer.status === 401) {
    showState("asks for the token", "lost");
    byId("operate").hidden = false;
    byId("operate").dataset.token = "true";
    if (token) forget("this token is not the right one");
    return;
  }
  if (!answer.ok) throw new Error(String(answer.status));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const [first, second] = part.split("\n");
      onEvent(first.slice("event: ".length), second.slice("data: ".length));
    }
  }
}

// Again and again: what ended may be started anew at the same address.
async function keepFollowing() {
  for (;;) {
    try { await follow(); } catch { /* told by showStale */ }
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

function showStale() {
  if (!ended && last && Date.now() - last > STALE) showState("no word from it", "lost");
}

function showOperate(now) {
  const operates = byId("operate").dataset.token === "true" && now.operable && now.state !== "ended";
  byId("operate").hidden = !operates;
  byId("token-form").hidden = Boolean(token);
  byId("actions").hidden = !token;
  byId("letters-card").hidden = now.dead_letters === null;
  byId("pause").disabled = now.state === "paused";
  byId("resume").disabled = now.state !== "paused";
}

function forget(why) {
  token = "";
  sessionStorage.removeItem(KEY);
  byId("token-form").hidden = false;
  byId("actions").hidden = true;
  setText("said", why);
}

async function ask(path, body) {
  setText("said", "asking …");
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}),
    });
  } catch {
    setText("said", "there was no answer");
    return undefined;
  }
  if (answer.status === 401) { forget("this token is not the right one"); return undefined; }
  const found = await answer.json().catch(() => ({}));
  if (found.error || !answer.ok) { setText("said", found.error || `it was refused: ${answer.status}`); return undefined; }
  setText("said", typeof found.done === "string" ? found.done : "");
  return found.done;
}

let chosen = "";

function showLetters(letters) {
  const rows = letters.map((letter) => {
    const box = element("input");
    box.type = "checkbox";
    box.value = letter.name;
    box.setAttribute("aria-label", `choose the letter of ${letter.at || "an unknown time"}`);
    box.addEventListener("change", () => { byId("redrive").disabled = !chosenLetters().length; });
    const row = [box, letter.at || "-", `${words(letter.status)}: ${letter.code}`, letter.error || "", letter.kind || "-"];
    if (personal) {
      const button = element("button", "Repair");
      button.type = "button";
      button.disabled = letter.line === null;
      button.addEventListener("click", () => {
        chosen = letter.name;
        byId("line").value = letter.line;
        byId("repair-form").hidden = false;
        byId("line").focus();
      });
      row.push(letter.id || "-", button);
    }
    return row;
  });
  const head = ["", "written at", "why", "what was wrong", "kind", ...(personal ? ["id", ""] : [])];
  fill("letters", rows.length ? table(head, rows, [1, 2, 3, 4, 5]) : element("p", "none", "sub"));
  byId("redrive").disabled = true;
}

function chosenLetters() {
  return [...byId("letters").querySelectorAll("input:checked")].map((box) => box.value);
}

async function look() {
  const letters = await ask("/letters");
  if (letters) { showLetters(letters); setText("said", `${letters.length} letters`); }
}

function listen() {
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    sessionStorage.setItem(KEY, token);
    setText("said", "");
    byId("token-form").hidden = true;
    byId("actions").hidden = false;
  });
  byId("forget").addEventListener("click", () => forget(""));
  byId("pause").addEventListener("click", () => ask("/pause"));
  byId("resume").addEventListener("click", () => ask("/resume"));
  byId("rate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask("/rate", { rate: Number(byId("rate").value) });
  });
  byId("look").addEventListener("click", look);
  byId("redrive").addEventListener("click", async () => {
    const said = await ask("/redrive", { letters: chosenLetters() });
    if (said !== undefined) { await look(); setText("said", said); }
  });
  byId("repair-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = await ask("/repair", { letter: chosen, line: byId("line").value });
    if (said === undefined) return;
    byId("repair-form").hidden = true;
    byId("line").value = "";
    await look();
    setText("said", said);
  });
}

listen();
setInterval(showStale, 1000);
keepFollowing();
