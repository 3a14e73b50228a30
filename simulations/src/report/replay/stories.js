// Stories: what a node did up to now, and what became of a transaction.

const $ = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => (key === "class" ? (made.className = value) : made.setAttribute(key, value)));
  return made;
}

function button(text, act, attributes) {
  const made = element("button", text, { type: "button", ...attributes });
  made.addEventListener("click", act);
  return made;
}

const shortId = (tx) => transactions.id[tx];

/// An event in words, and whether it is out of the ordinary.
function tell(event) {
  const { name, a, b, c } = event, batch = (place) => `batch ${batches.sequence[place]} of its lane`;
  switch (name) {
    case "up": return ["starts", true];
    case "down": return ["dies", true];
    case "proposed": return [`proposes height ${a}` + (b ? `, round ${b}` : ""), b > 0];
    case "prevoted": return [`prevotes ${c ? "the block" : "nil"} at height ${a}` + (b ? `, round ${b}` : ""), !c];
    case "precommitted": return [c ? `locks and precommits the block at height ${a}` + (b ? `, round ${b}` : "")
      : `precommits nil at height ${a}` + (b ? `, round ${b}` : ""), !c];
    case "decided": return [`${c ? "learns the decision of" : "decides"} height ${a}` + (b ? `, of round ${b}` : ""), b > 0];
    case "batched": return [`batches ${b} transaction${b === 1 ? "" : "s"}: ${batch(a)}`, false];
    case "secured": return [`${batch(a)} is secured`, false];
    case "accused": return [`proves that node ${a} misbehaved`, true];
    case "lane closed": return [`closes the lane of the member in place ${a}, epoch ${b}: it was forked`, true];
    case "refused": return [`refuses a transaction: ${record.words[a]}`, true];
    case "round": return [`begins round ${b} of height ${a}`, b > 0];
    case "catching up": return [`is at height ${a} and catches up to ${b}`, true];
    case "caught up": return [`has caught up at height ${a}`, true];
    case "may sign": return ["may sign: its peers remember nothing that it does not", true];
    case "state lost": return [`lost its memory: votes from height ${a}, has a lane from epoch ${b}`, true];
    case "rebatched": return [`batches ${a} transactions of an expired lane again`, true];
    case "fetching": return [`fetches batches ${b} to ${c} of the lane of the member in place ${a}`, true];
    case "not voted for": return [`does not vote for the proposal at height ${a}, round ${b}: ${record.words[c]}`, true];
    case "key in use": return [record.words[a], true];
    default: return [name, false];
  }
}

function storyRow(at, jump, ...content) {
  const row = element("li");
  row.append(at === null ? element("span", "", { class: "time" }) : button(seconds(at), () => jump(at), { title: "Go there" }));
  const cell = element("div");
  cell.append(...content);
  row.append(cell);
  return row;
}

const SHOWN = 200;

function nodeStory(node, time, body, act) {
  const place = node.place == null ? "" : `, ${record.places[node.place].city || record.places[node.place].name}`;
  $("story-name").textContent = `Node ${node.number}: ${node.role}${place}`;
  const state = stateOf(node, time), notes = [];
  const own = ["sent", "batched", "secured", "ordered"].map((tier) => `${tierOf(node, tier, time)} ${tier}`);
  notes.push(element("p", (state.up ? `Height ${state.height}, ${STEPS[state.step]}. ` : "Down. ") + `Its transactions: ${own.join(", ")}.`));
  node.liar.forEach((b) => notes.push(element("p", `Misbehaves from ${seconds(b.from)} to ${seconds(b.to)} s: ${b.behaviour}. ` +
    "Below is what its honest part did; what it sent may differ.", { class: "liar" })));
  hurts(node, time).forEach((f) => notes.push(element("p", `${f.name}, until ${seconds(f.to)} s`, { class: "hurt" })));
  const list = element("ol"), end = after(node.at, time);
  for (let i = end - 1; i >= Math.max(0, end - SHOWN); i--) {
    const event = node.event[i], [words, rare] = tell(event);
    const content = [words];
    if (event.name === "batched" && inBatch.has(event.a)) {
      const ids = element("div", undefined, { class: "ids" }), all = inBatch.get(event.a);
      all.slice(0, 4).forEach((tx) => ids.append(button(shortId(tx).slice(0, 8), () => act.choose({ tx }), { title: "This transaction's story" })));
      if (all.length > 4) ids.append(`and ${all.length - 4} more`);
      content.push(ids);
    }
    const row = storyRow(event.at, act.jump, ...content);
    if (rare) row.className = "rare";
    list.append(row);
  }
  if (end > SHOWN) list.append(storyRow(null, act.jump, `${many(end - SHOWN)} earlier events`));
  if (!end) list.append(storyRow(null, act.jump, "nothing yet"));
  body.replaceChildren(...notes, list);
}

/// What is looked up once for a chosen transaction.
function txFacts(tx) {
  const batch = transactions.batch[tx], height = transactions.height[tx];
  return { tx, batch, height, block: blockAt.get(height), reached: batch >= 0 ? reached(batch) : new Map(),
    signers: batch >= 0 ? batches.signers[batch] : [],
    marks: [["sent", "muted"], ["batched", "batch"], ["secured", "secured"], ["ordered", "commit"]]
      .map(([tier, colour]) => ({ at: transactions[tier][tx], colour })).filter((mark) => mark.at >= 0) };
}

function txStory(facts, time, body, act) {
  const { tx, batch, height, block } = facts, get = (column) => transactions[column][tx], sent = get("sent");
  $("story-name").textContent = `Transaction #${tx} · ${shortId(tx)}…`;
  const list = element("ol"), since = (at) => (at > sent ? `, ${ms(at - sent)} after it was sent` : "");
  const rows = [[sent, `is sent to node ${get("node")} (${get("bytes")} bytes)`]];
  const inLane = batch < 0 ? "" : `: batch ${batches.sequence[batch]} of node ${batches.node[batch]}'s lane`;
  if (get("batched") >= 0) rows.push([get("batched"), `is batched${inLane}${since(get("batched"))}`]);
  if (get("secured") >= 0) rows.push([get("secured"), `is secured by the acks of ${facts.signers.length ? "nodes " + facts.signers.join(", ") : "a quorum"}${since(get("secured"))}`]);
  if (get("ordered") >= 0 && block) rows.push([get("ordered"), `is ordered at height ${height}` + (block.round ? `, round ${block.round}` : "") +
    `, proposed by node ${block.proposer ?? "?"}, position ${get("position")} of its namespace${since(get("ordered"))}`]);
  rows.sort((a, b) => a[0] - b[0]).forEach(([at, words]) => {
    const row = storyRow(at, act.jump, words);
    row.className = at > time ? "later" : "rare";
    list.append(row);
  });
  if (get("ordered") < 0) list.append(storyRow(null, act.jump, get("batched") < 0 ? "was never batched: it was refused, or its node was down" : "was not ordered in this run"));
  const table = element("table"), head = element("tr");
  ["node", "holds the batch", "acked in time", "ordered"].forEach((name) => head.append(element("th", name)));
  table.append(head);
  for (const node of nodes) {
    const row = element("tr"), author = batch >= 0 && batches.node[batch] === node.number;
    const holds = author ? get("batched") : facts.reached.get(node.number), ordered = height ? node.decided.get(height) : undefined;
    const cell = (at) => element("td", at === undefined || at < 0 ? "–" : at > time ? "" : "+" + ms(at - sent));
    const name = element("td");
    name.append(button(String(node.number), () => act.choose({ node: node.number })));
    row.append(name, cell(holds), element("td", facts.signers.includes(node.number) && get("secured") <= time ? "yes" : ""), cell(ordered));
    table.append(row);
  }
  const scroll = element("div", undefined, { class: "scroll" });
  scroll.append(table);
  const kept = record.counted.find((c) => c.kind === "batch");
  const hint = "On the stage: nodes that hold the batch by now, and green those that ordered it. – : never, or by an answer to a question" +
    (kept && kept.kept < kept.sent ? ", or by a message that this page does not hold." : ".");
  body.replaceChildren(list, element("p", hint), scroll);
}

/// The colour of a node while a transaction is chosen.
function txFill(facts, time) {
  return (node) => {
    const ordered = facts.height ? node.decided.get(facts.height) : undefined;
    if (ordered !== undefined && ordered <= time) return "commit";
    const author = facts.batch >= 0 && batches.node[facts.batch] === node.number;
    const holds = author ? transactions.batched[facts.tx] : facts.reached.get(node.number);
    return holds !== undefined && holds >= 0 && holds <= time ? "batch" : null;
  };
}

const TIERS = [["ordered", "commit"], ["secured", "secured"], ["batched", "batch"]];

function latest(time, act) {
  const end = after(transactions.sent, time), rows = [];
  for (let tx = end - 1; tx >= Math.max(0, end - 7); tx--) {
    const tier = TIERS.find(([name]) => transactions[name][tx] >= 0 && transactions[name][tx] <= time);
    const row = button("", () => act.choose({ tx }), { title: "This transaction's story" });
    const name = element("span", tier ? tier[0] : "sent", { class: "tier" });
    if (tier) name.style.color = `var(--${tier[1]})`;
    row.append(element("span", "#" + tx), element("span", shortId(tx)), element("span", `node ${transactions.node[tx]}`), name);
    rows.push(row);
  }
  $("latest").replaceChildren(...(rows.length ? rows : [element("p", txCount ? "none sent yet" : "this run has none")]));
}

/// A transaction by the start of its id, or by its number. Its place, or why there is none.
function find(query) {
  const text = query.trim().toLowerCase();
  if (!text) return "Type the start of a transaction's id, or # and its number.";
  if (/^#\d+$/.test(text)) {
    const tx = Number(text.slice(1));
    return tx < txCount ? tx : `There is no transaction ${text}; numbers go from #0 to #${txCount - 1}.`;
  }
  const start = text.replace(/^0x/, "").slice(0, 16);
  if (!/^[0-9a-f]+$/.test(start)) return `${query} is neither the start of an id (hexadecimal) nor # and a number.`;
  const found = [];
  for (let tx = 0; tx < txCount && found.length < 2; tx++) if (transactions.id[tx].startsWith(start)) found.push(tx);
  if (found.length === 1) return found[0];
  if (found.length > 1) return `Several transactions begin with ${start}; type more of the id.`;
  return `No transaction here begins with ${start}.` + (record.one_of > 1 ? ` This page holds one of ${record.one_of}.` : "");
}

function tellHolds() {
  const say = [];
  const all = (c) => (c.kept === c.sent ? `all ${many(c.sent)}` : `${many(c.kept)} of ${many(c.sent)}, by lot`);
  say.push("Messages: " + record.counted.map((c) => `${c.kind} ${all(c)}`).join("; ") + ".");
  if (record.window[0] > 0 || record.window[1] < record.end)
    say.push(`Messages, votes and batches are from ${seconds(record.window[0])} to ${seconds(record.window[1])} s only, as the run was told.`);
  say.push(record.one_of > 1 ? `Transactions: one of ${record.one_of}, ${many(txCount)} in all.` : `Transactions: all ${many(txCount)} that were sent by the scenario's load.`);
  if (record.left_out) say.push(`${many(record.left_out)} further events and batches did not fit; what happens all the time is here up to a point only.`);
  say.push("A lost message ends half way in a cross. Dots show when a message leaves a node's connection and reaches the other's; what it waits for a processor there is not drawn.");
  say.push(`Trace ${record.trace}: the same scenario, seed and code give the same one.`);
  $("holds").replaceChildren(...say.map((text) => element("p", text)));
  const thinned = record.counted.some((c) => c.kept < c.sent) || record.one_of > 1 || record.left_out > 0
    || record.window[0] > 0 || record.window[1] < record.end;
  $("thinned").textContent = thinned ? "This page holds a part of what was sent: see “What this page holds”." : "";
}
