// The stage: nodes on a ring or on a map, messages between them.

const stage = document.getElementById("stage");
const land = document.getElementById("land").textContent.trim();
const onMap = land.length > 0 && record.places.length > 0 && record.places.every((place) => place.at);
const colours = {};
let layout = { width: 0, height: 0, radius: 10, at: [] };

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["page", "card", "ink", "muted", "line", "soft", "land", "fault", "liar", "good", "focus", ...GROUPS.map((g) => g.key)])
    colours[name] = style.getPropertyValue("--" + name).trim();
}

/// A canvas at the screen's own resolution. Its context, and its size in CSS pixels.
function canvasOf(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, tall = height || canvas.clientHeight;
  if (height) canvas.style.height = height + "px";
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height: tall };
}

function ringLayout(width, height) {
  const count = nodes.length, radius = Math.max(7, Math.min(22, 300 / count + 5));
  const around = Math.min(width, height) / 2 - radius - 34;
  // Nodes of one place stand together.
  const order = [...nodes].sort((a, b) => (a.place ?? 0) - (b.place ?? 0) || a.number - b.number);
  const at = [];
  order.forEach((node, place) => {
    const angle = (place / count) * 2 * Math.PI - Math.PI / 2;
    at[node.number] = { x: width / 2 + around * Math.cos(angle), y: height / 2 + around * Math.sin(angle), angle };
  });
  return { width, height, radius, at, around };
}

function mapLayout(width, height) {
  const lon = record.places.map((p) => p.at[0]), lat = record.places.map((p) => p.at[1]);
  let [west, east, south, north] = [Math.min(...lon) - 14, Math.max(...lon) + 14, Math.min(...lat) - 12, Math.max(...lat) + 12];
  const scale = Math.min(width / Math.max(40, east - west), height / Math.max(24, north - south));
  const [midLon, midLat] = [(west + east) / 2, (south + north) / 2];
  const project = (x, y) => ({ x: width / 2 + (x - midLon) * scale, y: height / 2 - (y - midLat) * scale });
  const radius = Math.max(6, Math.min(13, 60 / Math.sqrt(nodes.length) + 1));
  const homes = record.places.map((p) => project(...p.at));
  const at = nodes.map((node, i) => {
    const home = homes[node.place], turn = i * 2.39996, out = radius * 0.9;
    return { x: home.x + out * Math.cos(turn), y: home.y + out * Math.sin(turn), home };
  });
  // Nodes make room for one another, and stay as near to their place as they can.
  const apart = 2 * radius + 5;
  for (let step = 0; step < 400; step++) {
    for (const one of at) {
      one.x += (one.home.x - one.x) * 0.02;
      one.y += (one.home.y - one.y) * 0.02;
    }
    for (let i = 0; i < at.length; i++) for (let j = 0; j < i; j++) {
      const dx = at[i].x - at[j].x, dy = at[i].y - at[j].y, distance = Math.hypot(dx, dy) || 0.1;
      if (distance >= apart) continue;
      const push = (apart - distance) / 2 / distance;
      at[i].x += dx * push; at[i].y += dy * push; at[j].x -= dx * push; at[j].y -= dy * push;
    }
  }
  const labels = [];
  const order = record.places.map((_, place) => place).sort((a, b) => homes[a].y - homes[b].y);
  for (const place of order) {
    const own = nodes.filter((node) => node.place === place).map((node) => at[node.number]);
    if (!own.length) continue;
    const x = own.reduce((sum, p) => sum + p.x, 0) / own.length;
    const name = record.places[place].city || record.places[place].name, half = name.length * 3.1 + 3;
    const [top, bottom] = [Math.min(...own.map((p) => p.y)) - radius - 5, Math.max(...own.map((p) => p.y)) + radius + 12];
    const [left, right] = [Math.min(...own.map((p) => p.x)) - radius - half - 3, Math.max(...own.map((p) => p.x)) + radius + half + 3];
    const middle = own.reduce((sum, p) => sum + p.y, 0) / own.length + 4;
    const clash = (c) => labels.filter((l) => Math.abs(l.x - c.x) < l.half + half && Math.abs(l.y - c.y) < 13).length * 3
      + at.filter((p) => Math.abs(p.x - c.x) < half + radius && Math.abs(p.y - (c.y - 4)) < radius + 8).length
      + (c.x - half < 4 || c.x + half > width - 4 || c.y < 14 || c.y > height - 4 ? 6 : 0);
    const choices = [{ x, y: bottom }, { x, y: top }, { x: left, y: middle }, { x: right, y: middle },
      { x: left, y: top + 6 }, { x: right, y: top + 6 }, { x: left, y: bottom - 6 }, { x: right, y: bottom - 6 }];
    const best = choices.reduce((a, b) => (clash(b) < clash(a) ? b : a));
    labels.push({ ...best, name, half });
  }
  const polygons = land.split("\n").map((line) => line.split(" ").map((pair) => project(...pair.split(",").map(Number))));
  return { width, height, radius, at, labels, polygons, project };
}

function drawBackground(context) {
  const { width, height } = layout;
  context.clearRect(0, 0, width, height);
  if (!onMap) {
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.arc(width / 2, height / 2, layout.around, 0, 2 * Math.PI);
    context.stroke();
    return;
  }
  context.strokeStyle = colours.soft;
  context.lineWidth = 1;
  context.beginPath();
  for (let lon = -180; lon <= 180; lon += 30) { const { x } = layout.project(lon, 0); context.moveTo(x, 0); context.lineTo(x, height); }
  for (let lat = -60; lat <= 90; lat += 30) { const { y } = layout.project(0, lat); context.moveTo(0, y); context.lineTo(width, y); }
  context.stroke();
  context.fillStyle = colours.land;
  for (const polygon of layout.polygons) {
    context.beginPath();
    polygon.forEach((point, i) => (i ? context.lineTo(point.x, point.y) : context.moveTo(point.x, point.y)));
    context.fill();
  }
}

/// The places' names, readable above whatever flies there.
function drawPlaces(context) {
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = colours.card;
  context.fillStyle = colours.muted;
  for (const label of layout.labels) {
    context.strokeText(label.name, label.x, label.y);
    context.fillText(label.name, label.x, label.y);
  }
}

/// A point of the way from one node to another, bent a little so that both directions are seen.
function along(from, to, share) {
  const dx = to.x - from.x, dy = to.y - from.y, bend = 0.09 * 4 * share * (1 - share);
  return { x: from.x + dx * share - dy * bend, y: from.y + dy * share + dx * bend };
}

function drawMessages(context, time, shown, emphasised) {
  const end = after(messages.sent, time), from = messages.first(time);
  let flying = 0;
  for (let i = from; i < end; i++) {
    const group = messages.group[i];
    if (messages.arrive[i] < time || !shown[group]) continue;
    flying++;
    const length = messages.arrive[i] - messages.sent[i] || 1;
    let share = (time - messages.sent[i]) / length;
    const [start, goal] = [layout.at[messages.from[i]], layout.at[messages.to[i]]];
    const strong = emphasised && emphasised(i), weak = emphasised && !strong;
    context.globalAlpha = weak ? 0.12 : 0.9;
    context.fillStyle = context.strokeStyle = colours[GROUPS[group].key];
    const size = GROUPS[group].size * (layout.radius < 9 ? 0.8 : 1) * (strong ? 1.35 : 1);
    if (messages.lost[i]) {
      const point = along(start, goal, Math.min(0.5, share));
      if (share > 0.5) {
        context.globalAlpha *= 2 - 2 * share;
        context.lineWidth = 1.6;
        context.beginPath();
        context.moveTo(point.x - 3.5, point.y - 3.5); context.lineTo(point.x + 3.5, point.y + 3.5);
        context.moveTo(point.x + 3.5, point.y - 3.5); context.lineTo(point.x - 3.5, point.y + 3.5);
        context.stroke();
        continue;
      }
      share = Math.min(0.5, share);
    }
    const head = along(start, goal, share), tail = along(start, goal, Math.max(0, share - 0.05));
    context.lineWidth = size * 0.8;
    context.beginPath();
    context.moveTo(tail.x, tail.y);
    context.lineTo(head.x, head.y);
    context.stroke();
    context.beginPath();
    context.arc(head.x, head.y, size, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  return flying;
}

function outline(context, point, radius, liar) {
  context.beginPath();
  if (!liar) return context.arc(point.x, point.y, radius, 0, 2 * Math.PI);
  const out = radius * 1.25;
  context.moveTo(point.x, point.y - out); context.lineTo(point.x + out, point.y);
  context.lineTo(point.x, point.y + out); context.lineTo(point.x - out, point.y);
  context.closePath();
}

/// What a node's own transactions still wait for: a bar of up to twenty of them.
function drawBacklog(context, node, point, time) {
  const [sent, batched, secured, ordered] = ["sent", "batched", "secured", "ordered"].map((tier) => tierOf(node, tier, time));
  const parts = [[secured - ordered, colours.secured], [batched - secured, colours.batch], [sent - batched, colours.muted]];
  const wide = layout.radius * 2, unit = wide / 20;
  let x = point.x - layout.radius;
  const y = point.y + layout.radius + 5;
  for (const [count, colour] of parts) {
    const width = Math.min(Math.max(0, count) * unit, point.x + layout.radius - x);
    if (width <= 0) continue;
    context.fillStyle = colour;
    context.fillRect(x, y, width, 3);
    x += width;
  }
}

function drawNodes(context, time, chosen) {
  const top = Math.max(...nodes.map((node) => stateOf(node, time).height));
  const { radius } = layout, small = nodes.length > 24;
  context.textAlign = "center";
  for (const node of nodes) {
    const point = layout.at[node.number], state = stateOf(node, time), liar = lies(node, time), hurt = hurts(node, time);
    const story = chosen.fill && chosen.fill(node);
    outline(context, point, radius, node.liar.length > 0);
    context.fillStyle = colours.card;
    context.fill();
    if (story) {
      context.globalAlpha = 0.35;
      context.fillStyle = colours[story];
      context.fill();
      context.globalAlpha = 1;
    }
    context.lineWidth = liar ? 2.4 : 1.4;
    context.strokeStyle = liar ? colours.liar : node.liar.length ? colours.muted : hurt.length ? colours.fault : colours.muted;
    context.setLineDash(state.up ? [] : [3, 3]);
    context.stroke();
    context.setLineDash([]);
    // Three segments: proposed to, prevoted, precommitted.
    if (state.up && state.step > 0) {
      const lit = Math.min(3, state.step), gap = 0.16;
      for (let part = 0; part < 3; part++) {
        context.strokeStyle = part < lit ? (state.step === 4 ? colours.commit : colours.votes) : colours.line;
        context.lineWidth = 2.4;
        const start = -Math.PI / 2 + (part * 2 * Math.PI) / 3;
        context.beginPath();
        context.arc(point.x, point.y, radius + (node.liar.length ? radius * 0.4 : 0) + 3, start + gap / 2, start + (2 * Math.PI) / 3 - gap / 2);
        context.stroke();
      }
    }
    if (chosen.node === node.number) {
      context.strokeStyle = colours.focus;
      context.lineWidth = 2.5;
      context.beginPath();
      context.arc(point.x, point.y, radius * (node.liar.length ? 1.4 : 1) + 7, 0, 2 * Math.PI);
      context.stroke();
    }
    context.fillStyle = state.up ? colours.ink : colours.muted;
    context.font = `600 ${Math.max(8.5, Math.min(14, radius * 0.85))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.fillText(node.number, point.x, point.y + 0.5);
    context.textBaseline = "alphabetic";
    if (!state.up) {
      context.strokeStyle = colours.fault;
      context.lineWidth = 2;
      context.beginPath();
      const d = radius * 0.72;
      context.moveTo(point.x - d, point.y - d); context.lineTo(point.x + d, point.y + d);
      context.stroke();
    }
    if (!onMap) drawAround(context, node, point, state, top, small, liar, hurt);
    if (!small && state.up) drawBacklog(context, node, point, time);
  }
}

/// Beside a node on the ring: its height, and what is the matter with it.
function drawAround(context, node, point, state, top, small, liar, hurt) {
  const out = layout.radius + (small ? 13 : 21);
  const [x, y] = [point.x + out * Math.cos(point.angle) * (small ? 1 : 1.45), point.y + out * Math.sin(point.angle) + 4];
  context.textAlign = small ? "center" : Math.cos(point.angle) > 0.3 ? "left" : Math.cos(point.angle) < -0.3 ? "right" : "center";
  const shift = small ? 0 : Math.cos(point.angle) > 0.3 ? -8 : Math.cos(point.angle) < -0.3 ? 8 : 0;
  context.font = small ? "9.5px system-ui, sans-serif" : "12px system-ui, sans-serif";
  context.fillStyle = state.height + 1 < top ? colours.fault : colours.muted;
  const words = !state.up ? "down" : small ? String(state.height) : `h ${state.height}` + (state.round && state.step !== 4 ? ` r ${state.round}` : "");
  const part = record.faults.find((f) => hurt.includes(f) && f.groups.length);
  const group = part ? " · part " + "ABCDEFGH"[part.groups.findIndex((g) => g.includes(node.number)) % 8] : "";
  context.fillText(words + (small ? "" : group), x + shift, y);
  if (!small && liar) {
    context.fillStyle = colours.liar;
    context.fillText(liar.behaviour, x + shift, y + 14);
  }
  context.textAlign = "center";
}

function resizeStage() {
  const { width, height } = canvasOf(stage);
  layout = (onMap ? mapLayout : ringLayout)(width, height);
}

function nodeAt(x, y) {
  let best = null, least = layout.radius + 6;
  nodes.forEach((node) => {
    const distance = Math.hypot(layout.at[node.number].x - x, layout.at[node.number].y - y);
    if (distance < least) { least = distance; best = node; }
  });
  return best;
}
