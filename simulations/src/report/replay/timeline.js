// The timeline: faults, who misbehaves, decided heights, how much is sent; all of the run, or a part around now.

const timeline = document.getElementById("timeline");
const bars = [...record.faults.map((f) => ({ from: f.from, to: f.to, name: f.name, colour: "fault", nodes: f.nodes })),
  ...record.byzantine.map((b) => ({ from: b.from, to: b.to, name: `node ${b.node}: ${b.behaviour}`, colour: "liar", nodes: [b.node] }))]
  .sort((a, b) => a.from - b.from);
// Bars that overlap stand below one another.
const rows = [];
for (const bar of bars) {
  let row = rows.findIndex((end) => end + record.end / 400 <= bar.from);
  if (row < 0) row = rows.push(0) - 1;
  rows[row] = Math.max(bar.to, bar.from);
  bar.row = row;
}
const rowHeight = rows.length > 5 ? 5 : 15;
const barsHeight = rows.length ? Math.min(rows.length, 18) * rowHeight + 6 : 0;
const TIMELINE = { pad: 8, activity: 34, ticks: 22, axis: 18 };
const timelineHeight = barsHeight + TIMELINE.activity + TIMELINE.ticks + TIMELINE.axis + 6;
let view = { from: 0, to: Math.max(1, record.end) };

function viewAround(time, zoom) {
  const length = Math.max(1, record.end) / zoom;
  let { from } = view;
  // It stays where it is until the time leaves its inner part.
  if (Math.abs(view.to - view.from - length) > 1) from = time - length / 2;
  if (time < from + length * 0.08 || time > from + length * 0.92) from = time - length / 2;
  from = Math.max(0, Math.min(record.end - length, from));
  view = { from, to: from + length };
}

const xOf = (time, width) => TIMELINE.pad + ((time - view.from) / (view.to - view.from)) * (width - 2 * TIMELINE.pad);
const timeOf = (x, width) => view.from + ((x - TIMELINE.pad) / (width - 2 * TIMELINE.pad)) * (view.to - view.from);

/// A round step of time so that labels do not touch.
function axisStep(width) {
  const least = ((view.to - view.from) * 80) / width;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}

let counted = { key: "" };

/// How much is sent in each column of what is in view, and how much counts as full.
function activity(columns) {
  const key = `${view.from} ${view.to} ${columns}`;
  if (counted.key === key) return counted;
  const counts = new Float64Array(columns), scale = columns / (view.to - view.from);
  for (let i = after(messages.sent, view.from - 1); i < messages.sent.length && messages.sent[i] < view.to; i++)
    counts[Math.min(columns - 1, Math.max(0, Math.floor((messages.sent[i] - view.from) * scale)))]++;
  // A burst, as when all nodes start, does not flatten the rest.
  const most = Math.max(1, [...counts].sort((a, b) => a - b)[Math.floor(columns * 0.98)]);
  counted = { key, counts, most };
  return counted;
}

function drawTimeline(time, chosen) {
  const { context, width, height } = canvasOf(timeline, timelineHeight);
  context.clearRect(0, 0, width, height);
  const bottom = height - TIMELINE.axis, ticksTop = bottom - TIMELINE.ticks, activityTop = ticksTop - TIMELINE.activity;
  context.font = "11px system-ui, sans-serif";
  for (const fault of record.faults) {
    const [from, to] = [xOf(fault.from, width), xOf(fault.to, width)];
    context.fillStyle = colours.fault;
    context.globalAlpha = 0.1;
    context.fillRect(from, 0, Math.max(1.5, to - from), bottom);
  }
  context.globalAlpha = 1;
  if (record.duration < record.end) {
    context.fillStyle = colours.soft;
    const from = Math.max(0, xOf(record.duration, width));
    context.fillRect(from, barsHeight, width - from, bottom - barsHeight);
  }
  const columns = Math.max(1, Math.floor(width - 2 * TIMELINE.pad)), { counts, most } = activity(columns);
  context.fillStyle = colours.ack;
  context.globalAlpha = 0.55;
  counts.forEach((count, x) => {
    const tall = Math.min(1, count / most) * (TIMELINE.activity - 6);
    context.fillRect(TIMELINE.pad + x, ticksTop - 2 - tall, 1, tall);
  });
  context.globalAlpha = 1;
  const start = Math.max(0, after(blockTimes, view.from) - 1);
  for (let i = start; i < blocks.length && blocks[i].at <= view.to; i++) {
    const late = blocks[i].round > 0, x = xOf(blocks[i].at, width);
    context.fillStyle = late ? colours.fault : colours.commit;
    context.globalAlpha = late ? 1 : 0.75;
    const tall = late ? TIMELINE.ticks - 3 : 12;
    context.fillRect(x - 0.6, bottom - tall, late ? 2 : 1.2, tall);
  }
  context.globalAlpha = 1;
  for (const bar of bars) {
    const [from, to] = [Math.max(TIMELINE.pad, xOf(bar.from, width)), Math.min(width - TIMELINE.pad, xOf(bar.to, width))];
    if (to < from || bar.row >= 18) continue;
    const y = 3 + bar.row * rowHeight;
    context.fillStyle = colours[bar.colour];
    context.globalAlpha = chosen.node === undefined || bar.nodes.length === 0 || bar.nodes.includes(chosen.node) ? 0.85 : 0.5;
    context.fillRect(from, y, Math.max(3, to - from), rowHeight - 2);
    context.globalAlpha = 1;
    if (rowHeight < 15) continue;
    const wide = context.measureText(bar.name).width;
    context.textAlign = "left";
    context.fillStyle = wide + 8 < to - from ? colours.card : colours[bar.colour];
    const outside = to + 4 + wide < width ? to + 4 : Math.max(TIMELINE.pad, from - 4 - wide);
    context.fillText(bar.name, wide + 8 < to - from ? from + 4 : outside, y + 10);
  }
  for (const mark of chosen.marks || []) {
    if (mark.at < view.from || mark.at > view.to) continue;
    context.fillStyle = colours[mark.colour];
    context.beginPath();
    context.arc(xOf(mark.at, width), activityTop + 6, 4, 0, 2 * Math.PI);
    context.fill();
  }
  context.fillStyle = context.strokeStyle = colours.muted;
  context.textAlign = "center";
  const step = axisStep(width), digits = Math.max(0, Math.min(6, 6 - Math.floor(Math.log10(step))));
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const x = xOf(at, width), label = seconds(at, digits) + " s", half = context.measureText(label).width / 2;
    context.fillRect(x - 0.5, bottom, 1, 3);
    context.fillText(label, Math.max(half + 2, Math.min(width - half - 2, x)), bottom + 14);
  }
  const x = xOf(time, width);
  context.fillStyle = colours.ink;
  context.fillRect(x - 0.75, 0, 1.5, bottom);
  context.beginPath();
  context.moveTo(x - 5, bottom + 5); context.lineTo(x + 5, bottom + 5); context.lineTo(x, bottom - 2);
  context.fill();
}

/// What stands at a point of the timeline, in words.
function timelineWords(x, y, width) {
  const time = timeOf(x, width), slack = ((view.to - view.from) * 3) / width;
  const under = bars.filter((b) => y < barsHeight && b.from - slack <= time && time <= b.to + slack
    && Math.floor((y - 3) / rowHeight) === b.row);
  const place = after(blockTimes, time + slack) - 1, block = blocks[place];
  const words = under.map((b) => `${b.name}, ${seconds(b.from)} to ${seconds(b.to)} s`);
  if (block && Math.abs(block.at - time) <= slack)
    words.push(`height ${block.height} decided at ${seconds(block.at)} s, round ${block.round}, by node ${block.proposer ?? "?"}, ${block.transactions} transactions`);
  return words.length ? words.join("\n") : `${seconds(time)} s`;
}
