// Time, keys and choices.

const SPEEDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const PLAY = "M4 2l9 6-9 6z", PAUSE = "M3 2h4v12H3zM9 2h4v12H9z";
const ZOOMS = [1, 3, 10, 30, 100];
const now = { time: 0, playing: false, speed: 0.1, zoom: 1, shown: GROUPS.map(() => true), node: undefined, tx: undefined };
let facts = null, dirty = true, toldAt = -1, told = 0, last = 0;

const act = { jump: (time) => jump(time), choose: (what) => choose(what) };

function jump(time) {
  now.time = Math.max(0, Math.min(record.end, time));
  dirty = true;
}

function play(on) {
  if (on && now.time >= record.end) now.time = 0;
  now.playing = on;
  $("play").querySelector("path").setAttribute("d", on ? PAUSE : PLAY);
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function decision(step) {
  const place = step > 0 ? after(blockTimes, now.time + 0.5) : after(blockTimes, now.time - 1) - 1;
  if (blocks[place]) jump(blocks[place].at); else jump(step > 0 ? record.end : 0);
}

function nextFault() {
  const starts = bars.map((bar) => bar.from).filter((from) => from > now.time + 0.5).sort((a, b) => a - b);
  if (starts.length) jump(starts[0]);
}

function setSpeed(speed) { now.speed = speed; $("speed").value = speed; }
function setZoom(zoom) { now.zoom = zoom; $("zoom").value = zoom; dirty = true; }
function stepOf(list, value, step) { return list[Math.max(0, Math.min(list.length - 1, list.indexOf(value) + step))]; }

function choose({ node, tx }) {
  now.node = node;
  now.tx = tx;
  facts = tx === undefined ? null : txFacts(tx);
  $("answer").textContent = "";
  $("story").hidden = node === undefined && tx === undefined;
  toldAt = -1;
  dirty = true;
}

const rowsOf = nodes.map((node) => {
  const row = element("tr"), cells = [element("td"), ...Array.from({ length: 6 }, () => element("td"))];
  const name = button(String(node.number), () => choose({ node: node.number }), { title: "This node's story" });
  if (node.liar.length) name.classList.add("liar");
  cells[0].append(name);
  row.append(...cells);
  row.addEventListener("click", () => choose({ node: node.number }));
  return { row, cells };
});
$("nodes").tBodies[0].append(...rowsOf.map(({ row }) => row));

function drawTable() {
  nodes.forEach((node, i) => {
    const state = stateOf(node, now.time), { row, cells } = rowsOf[i];
    const words = [state.height, state.round, state.up ? (state.behind ? "catches up" : STEPS[state.step]) : "down",
      ...["batched", "secured", "ordered"].map((tier) => tierOf(node, tier, now.time))];
    words.forEach((word, at) => { if (cells[at + 1].textContent !== String(word)) cells[at + 1].textContent = word; });
    const name = (now.node === node.number ? "chosen " : "") + (state.up ? "" : "down ") + (hurts(node, now.time).length ? "hurt" : "");
    if (row.className !== name) row.className = name;
  });
}

function drawWords(force) {
  // Twelve times a second is enough to read, and less is kinder to who listens.
  if (!force && performance.now() - told < 80) return;
  if (toldAt === now.time) return;
  told = performance.now();
  toldAt = now.time;
  drawTable();
  latest(now.time, act);
  const body = $("story-body"), top = body.querySelector("ol")?.scrollTop || 0, low = body.querySelector(".scroll")?.scrollTop || 0;
  const held = body.contains(document.activeElement);
  if (held && now.playing) return;
  if (now.tx !== undefined) txStory(facts, now.time, body, act);
  else if (now.node !== undefined) nodeStory(nodes[now.node], now.time, body, act);
  if (body.querySelector("ol")) body.querySelector("ol").scrollTop = top;
  if (body.querySelector(".scroll")) body.querySelector(".scroll").scrollTop = low;
  // What was pressed is gone; whoever goes by keyboard is still in the story.
  if (held) $("story").focus({ preventScroll: true });
}

function draw() {
  viewAround(now.time, now.zoom);
  const { context } = canvasOf(stage);
  const chosen = { node: now.node, fill: facts ? txFill(facts, now.time) : null, marks: facts ? facts.marks : [] };
  drawBackground(context);
  const batchKinds = ["batch", "secured"].map((kind) => record.kinds.indexOf(kind));
  const proposal = record.kinds.indexOf("proposal");
  const emphasised = facts ? (i) => (batchKinds.includes(messages.kind[i]) ? messages.about[i] === facts.batch + 1 && facts.batch >= 0
    : messages.kind[i] === proposal && messages.about[i] === facts.height) : now.node !== undefined
    ? (i) => messages.from[i] === now.node || messages.to[i] === now.node : null;
  const flying = drawMessages(context, now.time, now.shown, emphasised);
  drawNodes(context, now.time, chosen);
  if (onMap) drawPlaces(context);
  drawTimeline(now.time, chosen);
  const height = blocks.length && after(blockTimes, now.time) ? blocks[after(blockTimes, now.time) - 1].height : 0;
  $("clock").textContent = `${seconds(now.time, now.speed < 0.1 ? 4 : 3)} s   height ${height}`;
  $("scrub").value = now.time;
  $("scrub").setAttribute("aria-valuetext", `${seconds(now.time)} seconds, height ${height}, ${flying} messages on their way`);
  drawWords(!now.playing);
}

function frame(at) {
  const passed = Math.min(100, at - last);
  last = at;
  if (now.playing) {
    now.time = Math.min(record.end, now.time + passed * 1000 * now.speed);
    if (now.time >= record.end) play(false);
    dirty = true;
  }
  if (dirty) { dirty = false; draw(); }
  requestAnimationFrame(frame);
}

function legend() {
  const used = new Set(record.counted.map((c) => c.kind));
  GROUPS.forEach((group, i) => {
    if (!group.kinds.some((kind) => used.has(kind))) return;
    const toggle = element("button", undefined, { type: "button", "aria-pressed": "true" });
    const dot = element("i");
    dot.style.background = `var(--${group.key})`;
    toggle.append(dot, group.name);
    toggle.addEventListener("click", () => {
      now.shown[i] = !now.shown[i];
      toggle.setAttribute("aria-pressed", String(now.shown[i]));
      dirty = true;
    });
    $("legend").append(toggle);
  });
  const signs = ["✕ lost"];
  if (record.byzantine.length) signs.push("◇ misbehaves");
  if (record.events.what.includes(record.events.names.indexOf("down"))) signs.push("dashed: down");
  signs.push("arcs: propose, prevote, precommit");
  if (!onMap && nodes.length <= 24) signs.push("bar: own transactions that wait");
  signs.forEach((sign) => $("legend").append(element("span", sign, { class: "sign" })));
}

function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("speed")) setSpeed(SPEEDS.includes(Number(wanted.get("speed"))) ? Number(wanted.get("speed")) : now.speed);
  if (wanted.has("zoom")) setZoom(ZOOMS.includes(Number(wanted.get("zoom"))) ? Number(wanted.get("zoom")) : now.zoom);
  if (wanted.has("t") && Number.isFinite(Number(wanted.get("t")))) jump(Number(wanted.get("t")) * 1e6);
  const node = Number(wanted.get("node"));
  if (wanted.has("node") && nodes[node]) choose({ node });
  if (wanted.has("tx")) search(wanted.get("tx"));
}

function search(text) {
  const found = find(text);
  if (typeof found === "number") choose({ tx: found });
  $("answer").textContent = typeof found === "number" ? "" : found;
}

function hint(canvas, words) {
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), frameBox = $("frame").getBoundingClientRect();
    const text = words(event.clientX - box.left, event.clientY - box.top, box.width);
    $("hint").hidden = !text;
    if (!text) return;
    $("hint").textContent = text;
    const wide = $("hint").offsetWidth, tall = $("hint").offsetHeight;
    $("hint").style.left = Math.max(0, Math.min(frameBox.width - wide, event.clientX - frameBox.left + 12)) + "px";
    $("hint").style.top = Math.max(0, Math.min(frameBox.height - tall - 2, event.clientY - frameBox.top + 14)) + "px";
  });
  canvas.addEventListener("pointerleave", () => { $("hint").hidden = true; });
}

function nodeWords(x, y) {
  const node = nodeAt(x, y);
  stage.style.cursor = node ? "pointer" : "default";
  if (!node) return "";
  const state = stateOf(node, now.time), lines = [`node ${node.number}, ${node.role}`];
  if (node.place != null) lines[0] += `, ${record.places[node.place].name}`;
  lines.push(state.up ? `height ${state.height}, round ${state.round}, ${STEPS[state.step]}` : "down");
  node.liar.forEach((b) => lines.push(`${b.behaviour}, ${seconds(b.from, 1)} to ${seconds(b.to, 1)} s`));
  hurts(node, now.time).forEach((f) => lines.push(f.name));
  return lines.join("\n");
}

function wire() {
  $("play").addEventListener("click", () => play(!now.playing));
  $("next").addEventListener("click", () => decision(1));
  $("previous").addEventListener("click", () => decision(-1));
  $("fault").addEventListener("click", nextFault);
  $("fault").hidden = !bars.length;
  $("speed").addEventListener("change", () => setSpeed(Number($("speed").value)));
  $("zoom").addEventListener("change", () => setZoom(Number($("zoom").value)));
  $("scrub").addEventListener("input", () => jump(Number($("scrub").value)));
  $("close").addEventListener("click", () => choose({}));
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search($("query").value); });
  stage.addEventListener("click", (event) => {
    const box = stage.getBoundingClientRect(), node = nodeAt(event.clientX - box.left, event.clientY - box.top);
    choose(node ? { node: node.number } : {});
  });
  const seek = (event) => {
    const box = timeline.getBoundingClientRect();
    jump(timeOf(event.clientX - box.left, box.width));
  };
  timeline.addEventListener("pointerdown", (event) => { timeline.setPointerCapture(event.pointerId); seek(event); });
  timeline.addEventListener("pointermove", (event) => { if (event.buttons & 1) seek(event); });
  hint(stage, nodeWords);
  hint(timeline, timelineWords);
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input[type=search], select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const little = Math.max(100, now.speed * 50_000);
    const keys = { n: () => decision(1), p: () => decision(-1), f: nextFault, "[": () => setSpeed(stepOf(SPEEDS, now.speed, -1)),
      "]": () => setSpeed(stepOf(SPEEDS, now.speed, 1)), "+": () => setZoom(stepOf(ZOOMS, now.zoom, 1)),
      "-": () => setZoom(stepOf(ZOOMS, now.zoom, -1)), ",": () => jump(now.time - little), ".": () => jump(now.time + little),
      "/": () => $("query").focus(), Escape: () => choose({}) };
    if (event.key === " " && !event.target.matches("button, summary")) keys[" "] = () => play(!now.playing);
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  // At once, since a canvas of another size is empty.
  const resize = () => { resizeStage(); draw(); };
  new ResizeObserver(resize).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); dirty = true; });
  window.addEventListener("hashchange", fromAddress);
}

$("name").textContent = record.name || "run";
document.title = `${record.name || "run"}: replay`;
$("verdict").textContent = record.verdict;
$("verdict").className = record.verdict;
$("verdict").title = record.what;
$("figures").textContent = `seed ${record.seed} · ${nodes.length} nodes · ${seconds(record.end, 1)} s · ${many(blocks.length)} heights · ${many(txCount * record.one_of)} transactions`
  + (record.what ? ` · ${record.what}` : "");
$("scrub").max = record.end;
SPEEDS.forEach((speed) => $("speed").append(element("option", speed + "×", { value: speed })));
ZOOMS.forEach((zoom) => $("zoom").append(element("option", zoom + "×", { value: zoom })));
// A message takes about half a second to see.
setSpeed(SPEEDS.reduce((best, speed) => (Math.abs(Math.log(speed * 500_000 / messages.typical)) < Math.abs(Math.log(best * 500_000 / messages.typical)) ? speed : best)));
setZoom(1);
readColours();
resizeStage();
legend();
tellHolds();
wire();
fromAddress();
requestAnimationFrame(frame);
