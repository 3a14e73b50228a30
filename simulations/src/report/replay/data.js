// The record, decoded: times in microseconds since the start, columns as arrays, and what is looked up by time.

const record = JSON.parse(document.getElementById("record").textContent);

const GROUPS = [
  { key: "proposal", name: "proposal", kinds: ["proposal"], size: 4.6 },
  { key: "votes", name: "vote", kinds: ["vote", "votes"], size: 2.6 },
  { key: "commit", name: "commit certificate", kinds: ["commit"], size: 3 },
  { key: "batch", name: "batch", kinds: ["batch"], size: 3.6 },
  { key: "ack", name: "ack", kinds: ["ack"], size: 2.2 },
  { key: "secured", name: "batch certificate", kinds: ["secured"], size: 3 },
  { key: "fetch", name: "question, answer", kinds: ["request", "response"], size: 3 },
  { key: "other", name: "evidence, readiness", kinds: ["evidence", "ready"], size: 3 },
];

/// The first place in a sorted array whose value is above `value`.
function after(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

function sums(steps) {
  const out = new Float64Array(steps.length);
  let at = 0;
  steps.forEach((step, i) => { at += step; out[i] = at; });
  return out;
}

function decodeMessages(columns) {
  const sent = sums(columns.at), count = sent.length;
  const flights = columns.took.filter((took) => took >= 0).sort((a, b) => a - b);
  const typical = flights.length ? flights[flights.length >> 1] : 5000;
  const arrive = new Float64Array(count), groupOf = record.kinds.map((kind) => GROUPS.findIndex((g) => g.kinds.includes(kind)));
  // What is lost flies until it is half way.
  for (let i = 0; i < count; i++) arrive[i] = sent[i] + (columns.took[i] < 0 ? typical : columns.took[i]);
  // For each stretch of time, the first message that is still under way in it.
  const stretches = 4096, width = Math.max(1, record.end / stretches);
  const first = new Float64Array(stretches + 1).fill(count);
  const stretch = (time) => Math.min(stretches, Math.max(0, Math.floor(time / width)));
  for (let i = 0; i < count; i++) first[stretch(arrive[i])] = Math.min(first[stretch(arrive[i])], i);
  for (let s = stretches - 1; s >= 0; s--) first[s] = Math.min(first[s], first[s + 1]);
  return { sent, arrive, lost: columns.took.map((took) => took < 0), from: columns.from, to: columns.to, about: columns.about,
    kind: columns.kind, group: columns.kind.map((kind) => groupOf[kind]), typical, first: (time) => first[stretch(time)] };
}

const STEPS = ["waits", "propose", "prevote", "precommit", "decided"];

/// Each node's events, and its condition after each of them.
function decodeNodes() {
  const { names, node, what, figures } = record.events;
  const at = sums(record.events.at);
  const nodes = record.nodes.map((info, number) => ({ number, ...info, at: [], event: [], states: [],
    sent: [], batched: [], secured: [], ordered: [], decided: new Map(),
    liar: record.byzantine.filter((b) => b.node === number) }));
  const state = nodes.map(() => ({ up: false, height: 0, round: 0, step: 0, behind: false }));
  for (let i = 0; i < at.length; i++) {
    const one = nodes[node[i]], name = names[what[i]], [a, b, c] = [figures[3 * i], figures[3 * i + 1], figures[3 * i + 2]];
    const next = { ...state[node[i]] };
    if (name === "up") Object.assign(next, { up: true, round: 0, step: 0, behind: false });
    if (name === "down") Object.assign(next, { up: false, step: 0 });
    if (name === "round" && a > next.height) Object.assign(next, { round: b, step: 1 });
    // A proposer's own vote may leave before its proposal.
    if (name === "proposed" && a > next.height) Object.assign(next, { round: b, step: next.step === 4 || b > next.round ? 1 : Math.max(next.step, 1) });
    if (name === "prevoted" && a > next.height) Object.assign(next, { round: b, step: 2 });
    if (name === "precommitted" && a > next.height) Object.assign(next, { round: b, step: 3 });
    if (name === "decided") {
      if (a > next.height) Object.assign(next, { height: a, round: b, step: 4 });
      if (!one.decided.has(a)) one.decided.set(a, at[i]);
    }
    if (name === "catching up") next.behind = true;
    if (name === "caught up") next.behind = false;
    state[node[i]] = next;
    one.at.push(at[i]);
    one.event.push({ at: at[i], name, a, b, c });
    one.states.push(next);
  }
  return nodes;
}

const messages = decodeMessages(record.messages);
const nodes = decodeNodes();
const batches = record.batches;
const transactions = record.transactions;
const txCount = transactions.id.length;
const blocks = [...record.blocks].sort((a, b) => a.at - b.at);
const blockTimes = blocks.map((block) => block.at);
const blockAt = new Map(blocks.map((block) => [block.height, block]));
const inBatch = new Map();
for (let i = 0; i < txCount; i++) {
  const own = nodes[transactions.node[i]];
  own.sent.push(transactions.sent[i]);
  for (const tier of ["batched", "secured", "ordered"]) if (transactions[tier][i] >= 0) own[tier].push(transactions[tier][i]);
  const batch = transactions.batch[i];
  if (batch >= 0) inBatch.has(batch) ? inBatch.get(batch).push(i) : inBatch.set(batch, [i]);
}
nodes.forEach((node) => ["sent", "batched", "secured", "ordered"].forEach((tier) => node[tier].sort((a, b) => a - b)));

const UNBORN = { up: false, height: 0, round: 0, step: 0, behind: false };
function stateOf(node, time) {
  const place = after(node.at, time);
  return place ? node.states[place - 1] : UNBORN;
}
const tierOf = (node, tier, time) => after(node[tier], time);
const lies = (node, time) => node.liar.find((b) => b.from <= time && time < b.to);
const hurts = (node, time) => record.faults.filter((f) => f.from <= time && time < f.to && f.nodes.includes(node.number));

/// When a batch reached each node by a message of its own; what came as an answer to a question is not known here.
function reached(batch) {
  const times = new Map();
  const batchKind = record.kinds.indexOf("batch");
  for (let i = 0; i < messages.sent.length; i++) {
    if (messages.kind[i] !== batchKind || messages.about[i] !== batch + 1 || messages.lost[i]) continue;
    const before = times.get(messages.to[i]);
    if (before === undefined || messages.arrive[i] < before) times.set(messages.to[i], messages.arrive[i]);
  }
  return times;
}

const seconds = (time, digits = 3) => (time / 1e6).toFixed(digits);
const ms = (time) => (time / 1000).toFixed(time < 1e5 ? 2 : 0) + " ms";
const many = (count) => count.toLocaleString("en");
