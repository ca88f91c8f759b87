"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const map = document.getElementById("map");
  const crumbs = document.getElementById("crumbs");
  const facts = document.getElementById("facts");
  const partsOf = document.getElementById("parts-of");
  const CLASSES = {
    blob: "blob", containers: "written", container: "written", volumes: "written", volume: "written",
    unused: "unused", metadata: "other", ingest: "other", orphans: "other", rest: "other",
  };
  const GAP = 2, DEPTH = 4, MOST_TILES = 4000, MOST_ROWS = 200;
  const PLAIN = '12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif', BOLD = `600 ${PLAIN}`;
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

  // --- sizes -----------------------------------------------------------------------------------------------------

  function size(bytes) {
    let unit = 0;
    while (bytes >= 1023.5 && unit < UNITS.length - 1) { bytes /= 1024; unit += 1; }
    const digits = unit === 0 ? 0 : bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0;
    return `${bytes.toFixed(digits)} ${UNITS[unit]}`;
  }

  function share(part, whole) {
    if (!whole) return "0 %";
    const percent = 100 * part / whole;
    return percent > 0 && percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
  }

  // --- the tree: what a node shows when it is opened ---------------------------------------------------------------

  const users = data.shared.map(() => []);
  data.images.forEach((image, place) => image.needs.forEach(([at]) => users[at].push(place)));
  const imageNames = [];
  const rawImages = data.root.p.flatMap((one) => (one.k === "group" ? one.p : [one]));
  for (const node of rawImages) if (node.i !== undefined) imageNames[node.i] = node.n;

  function child(node, parent, wanted) {
    return {
      kind: node.k, name: node.n, size: wanted === undefined ? node.s : wanted, digest: node.d, users: node.u || 1,
      raw: node, parent, image: node.i, made: null,
    };
  }

  function parts(node) {
    if (node.made) return node.made;
    const own = (node.raw.p || []).map((one) => child(one, node));
    if (node.kind === "shared") own.push(...data.shared.map((one, at) => ({ ...child(one, node), at })));
    node.made = own;
    return node.made;
  }

  // An image that is opened has its shared layers too. They are not in the map of the whole store.
  function opened(node) {
    if (node.image === undefined) return parts(node);
    if (node.whole) return node.whole;
    const image = data.images[node.image];
    const found = parts(node).slice();
    for (const [at, bytes] of image.needs) found.push({ ...child(data.shared[at], node, bytes), at });
    if (image.others) {
      found.push(child({ k: "rest", n: "smaller shared layers", s: image.others, u: 2 }, node));
    }
    node.whole = found;
    return found;
  }

  function openedSize(node) {
    return node.image === undefined ? node.size : data.images[node.image].size;
  }

  function isShared(node) {
    for (let one = node; one; one = one.parent) if (one.kind === "shared" || one.users > 1) return true;
    return false;
  }

  // The number of images that need a part, "" for what has nothing to do with images.
  function imagesOf(node) {
    for (let one = node; one; one = one.parent) {
      if (one.users > 1) return String(one.users);
      if (one.kind === "shared") return "several";
      if (one.kind === "image") return "1";
    }
    return "";
  }

  function isWithin(node, kind) {
    for (let one = node; one; one = one.parent) if (one.kind === kind) return true;
    return false;
  }

  function look(node) {
    if (CLASSES[node.kind] && node.kind !== "rest") return CLASSES[node.kind];
    if (isWithin(node, "unused")) return "unused";
    if (isShared(node)) return "shared";
    return node.kind === "rest" ? "other" : "own";
  }

  const root = child(data.root, null);

  // --- layout: squarified (Bruls, Huizing and van Wijk, 2000) ------------------------------------------------------

  function worst(row, total, side) {
    const most = row[0].size, least = row[row.length - 1].size;
    return Math.max(side * side * most / (total * total), total * total / (side * side * least));
  }

  function squarify(all, box) {
    const placed = [];
    const nodes = all.filter((node) => node.size > 0).sort((a, b) => b.size - a.size);
    const whole = nodes.reduce((sum, node) => sum + node.size, 0);
    if (!whole || box.w <= 0 || box.h <= 0) return placed;
    const scale = box.w * box.h / whole;
    let { x, y, w, h } = box;
    let start = 0;
    while (start < nodes.length) {
      const side = Math.min(w, h);
      if (side <= 0) break;
      let end = start + 1, total = nodes[start].size * scale;
      const areas = [{ size: total }];
      let now = worst(areas, total, side);
      while (end < nodes.length) {
        const area = nodes[end].size * scale;
        areas.push({ size: area });
        const next = worst(areas, total + area, side);
        if (next > now) break;
        now = next;
        total += area;
        end += 1;
      }
      const thick = total / side;
      let along = 0;
      for (let at = start; at < end; at += 1) {
        const long = nodes[at].size * scale / thick;
        placed.push(w >= h
          ? { node: nodes[at], x, y: y + along, w: thick, h: long }
          : { node: nodes[at], x: x + along, y, w: long, h: thick });
        along += long;
      }
      if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
      start = end;
    }
    return placed;
  }

  // --- drawing ----------------------------------------------------------------------------------------------------

  let current = root;
  let tiles = [];
  let drawn = 0;

  function element(name, kind, content) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  // Names of one project differ at their ends, so the middle is cut. Styles still clip what is estimated wrongly.
  const pen = document.createElement("canvas").getContext("2d");

  function fitting(name, width, font) {
    if (!pen) return name;
    pen.font = font;
    const whole = pen.measureText(name).width;
    if (whole <= width) return name;
    const letters = Array.from(name);
    const count = Math.floor(0.93 * letters.length * (width - pen.measureText("…").width) / whole);
    if (count < 5) return name;
    return `${letters.slice(0, Math.ceil(count / 2)).join("")}…${letters.slice(letters.length - Math.floor(count / 2)).join("")}`;
  }

  function label(node, width, font) {
    const made = element("span", "label");
    made.append(element("bdi", "", fitting(node.name, width, font)));
    return made;
  }

  function place(made, box) {
    made.style.left = `${box.x}px`;
    made.style.top = `${box.y}px`;
    made.style.width = `${box.w}px`;
    made.style.height = `${box.h}px`;
  }

  function snapped(box, gap) {
    const x = Math.round(box.x), y = Math.round(box.y);
    return { x, y, w: Math.round(box.x + box.w) - x - gap, h: Math.round(box.y + box.h) - y - gap };
  }

  function tile(box, depth) {
    const node = box.node;
    const made = element(depth ? "span" : "button", `tile ${look(node)}`);
    made.node = node;
    place(made, box);
    drawn += 1;
    const below = parts(node);
    const head = depth ? 17 : 20;
    if (below.length && depth < DEPTH && box.w >= 54 && box.h >= head + 26 && drawn < MOST_TILES) {
      made.classList.add("open");
      const line = element("span", "head");
      const room = box.w - 14 - (box.w >= 130 ? 74 : 0);
      line.append(label(node, room, depth ? BOLD : BOLD.replace("12px", "13px")));
      if (box.w >= 130) line.append(element("span", "size", size(node.size)));
      made.append(line);
      const inner = { x: GAP, y: head, w: box.w - 2 * GAP, h: box.h - head - GAP };
      for (const one of squarify(below, inner)) {
        const at = snapped(one, 1);
        if (at.w >= 2 && at.h >= 2) made.append(tile({ ...at, node: one.node }, depth + 1));
      }
    } else {
      made.classList.add("leaf");
      if (box.w >= 38 && box.h >= 19) made.append(label(node, box.w - 13, depth ? PLAIN : PLAIN.replace("12px", "13px")));
      if (box.w >= 62 && box.h >= 38) made.append(element("span", "size", size(node.size)));
    }
    return made;
  }

  function described(node) {
    const words = [node.name, data.kinds[node.kind][0], size(node.size), `${share(node.size, root.size)} of the store`];
    if (node.users > 1) words.push(`needed by ${node.users} images`);
    return words.join(", ");
  }

  function draw() {
    map.replaceChildren();
    drawn = 0;
    tiles = [];
    const box = { x: 0, y: 0, w: map.clientWidth, h: map.clientHeight };
    const nodes = opened(current).filter((node) => node.size > 0);
    for (const one of squarify(nodes.length ? nodes : [current], box)) {
      const at = snapped(one, GAP);
      if (at.w < 2 || at.h < 2) continue;
      const made = tile({ ...at, node: one.node }, 0);
      made.type = "button";
      made.tabIndex = tiles.length ? -1 : 0;
      made.setAttribute("aria-label", described(one.node));
      tiles.push(made);
      map.append(made);
    }
    const missing = nodes.length - tiles.length;
    map.setAttribute("aria-label", `Map of ${current.name}: ${nodes.length} parts`
      + (nodes.length && missing ? `, of which ${missing} are too small to be drawn` : ""));
  }

  function way(node) {
    const found = [];
    for (let one = node; one; one = one.parent) found.unshift(one);
    return found;
  }

  function drawCrumbs() {
    crumbs.replaceChildren();
    way(current).forEach((node, at, all) => {
      if (at) crumbs.append(element("span", "", "›"));
      const made = element("button");
      made.append(element("bdi", "", node.name));
      made.type = "button";
      if (at === all.length - 1) made.setAttribute("aria-current", "location");
      made.addEventListener("click", () => open(node));
      crumbs.append(made);
    });
  }

  function drawFacts(node) {
    facts.replaceChildren();
    const [word, why] = data.kinds[node.kind];
    const title = element("strong");
    title.append(element("bdi", "", node.name));
    facts.append(title);
    const bytes = node === current ? openedSize(node) : node.size;
    const sizes = [size(bytes), `${share(bytes, root.size)} of the store`];
    if (node.parent && node.parent !== root) sizes.push(`${share(node.size, openedSize(node.parent))} of ${node.parent.name}`);
    facts.append(element("span", "", `${word}${node.digest && !node.name.includes(node.digest) ? ` ${node.digest}` : ""} · ${sizes.join(" · ")}`));
    let more = why;
    if (node.image !== undefined && openedSize(node) !== node.size) {
      more = `${why}; with its shared layers it takes ${size(openedSize(node))}`;
    }
    if (node.at !== undefined) {
      const names = users[node.at].slice(0, 8).map((one) => imageNames[one]);
      const left = data.shared[node.at].u - names.length;
      more = `needed by ${data.shared[node.at].u || 1} images: ${names.join(", ")}${left > 0 ? ` and ${left} more` : ""}`;
    }
    facts.append(element("span", "", more));
  }

  function cell(kind, content, title) {
    const made = element("td", kind, content);
    if (title) made.dataset.label = title;
    return made;
  }

  function drawTable() {
    const nodes = opened(current);
    const whole = openedSize(current);
    const table = element("table");
    table.append(element("caption", "", nodes.length
      ? `What ${current.name} consists of, largest first.` : `${current.name} is not divided further.`));
    const head = element("tr");
    for (const [title, kind] of [["Part", ""], ["Kind", ""], ["Images", "number"], ["Size", "number"], ["Share", ""]]) {
      const made = element("th", kind, title);
      made.scope = "col";
      head.append(made);
    }
    const body = element("tbody");
    const sorted = nodes.slice().sort((a, b) => b.size - a.size);
    for (const node of sorted.slice(0, MOST_ROWS)) {
      const row = element("tr");
      const name = element("th");
      name.scope = "row";
      const made = element(opened(node).length ? "button" : "span");
      if (opened(node).length) made.type = "button";
      made.append(element("bdi", "", node.name));
      if (opened(node).length) made.addEventListener("click", () => { open(node); crumbs.scrollIntoView(); });
      name.append(made);
      const bar = cell("wide", undefined, "Share");
      const line = element("span", "bar");
      const fill = element("i");
      fill.style.width = `${100 * node.size / (whole || 1)}%`;
      line.append(fill);
      bar.append(line);
      bar.title = share(node.size, whole);
      row.append(name, cell("", data.kinds[node.kind][0], "Kind"), cell("number", imagesOf(node), "Images"),
        cell("number", size(node.size), "Size"), bar);
      body.append(row);
    }
    const top = element("thead");
    top.append(head);
    table.append(top, body);
    partsOf.replaceChildren(table);
    if (sorted.length > MOST_ROWS) {
      partsOf.append(element("p", "help", `${sorted.length - MOST_ROWS} smaller ones are not listed.`));
    }
  }

  // --- moving -----------------------------------------------------------------------------------------------------

  function address(node) {
    return way(node).slice(1).map((one) => opened(one.parent).indexOf(one)).join(".");
  }

  function found(text) {
    let node = root;
    for (const word of text.split(".").filter(Boolean)) {
      const next = /^[0-9]+$/.test(word) ? opened(node)[Number(word)] : undefined;
      if (!next) return node;
      node = next;
    }
    return node;
  }

  function show(node, from) {
    current = node;
    draw();
    drawCrumbs();
    drawFacts(node);
    drawTable();
    const back = from && tiles.find((made) => made.node === from);
    if (from) focus(back || tiles[0]);
  }

  function open(node) {
    const target = opened(node).length || !node.parent ? node : node.parent;
    if (target === current) return;
    const from = way(current).includes(target) ? way(current)[way(target).length] : target;
    show(target, from);
    history.pushState(null, "", `#${address(target)}`);
  }

  function focus(made) {
    if (!made) return;
    for (const one of tiles) one.tabIndex = one === made ? 0 : -1;
    made.focus({ preventScroll: true });
    drawFacts(made.node);
  }

  function middle(made) {
    return { x: made.offsetLeft + made.offsetWidth / 2, y: made.offsetTop + made.offsetHeight / 2 };
  }

  // The nearest tile whose edge is beyond ours; what lies straight ahead counts as nearer.
  function neighbour(from, key) {
    const across = key === "ArrowUp" || key === "ArrowDown";
    const sign = key === "ArrowDown" || key === "ArrowRight" ? 1 : -1;
    const here = middle(from);
    let best = null, least = Infinity;
    for (const one of tiles) {
      if (one === from) continue;
      const there = middle(one);
      const ahead = sign * (across ? there.y - here.y : there.x - here.x);
      const aside = Math.abs(across ? there.x - here.x : there.y - here.y);
      const span = across ? (one.offsetWidth + from.offsetWidth) / 2 : (one.offsetHeight + from.offsetHeight) / 2;
      if (ahead <= 1) continue;
      const distance = ahead + (aside < span ? aside / 4 : 3 * aside);
      if (distance < least) { least = distance; best = one; }
    }
    return best;
  }

  map.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const from = tiles.includes(document.activeElement) ? document.activeElement : tiles[0];
    let next = null;
    if (event.key.startsWith("Arrow")) next = neighbour(from, event.key);
    else if (event.key === "Home") next = tiles[0];
    else if (event.key === "End") next = tiles[tiles.length - 1];
    else return;
    event.preventDefault();
    focus(next);
  });
  document.addEventListener("keydown", (event) => {
    const isUp = event.key === "Escape" || (event.key === "Backspace" && map.contains(document.activeElement));
    if (isUp && current.parent) { event.preventDefault(); open(current.parent); }
  });
  map.addEventListener("click", (event) => {
    const made = event.target.closest(".tile");
    if (!made) return;
    // A key opens the tile itself, a click the innermost part below the pointer that can be opened.
    if (event.detail === 0) { open(made.closest("button").node); return; }
    let node = made.node;
    while (node !== current && !opened(node).length) node = node.parent;
    if (node !== current) open(node);
  });
  map.addEventListener("pointerover", (event) => {
    const made = event.target.closest(".tile");
    if (made) drawFacts(made.node);
  });
  map.addEventListener("focusin", (event) => { if (event.target.node) drawFacts(event.target.node); });
  map.addEventListener("pointerleave", () => drawFacts(current));
  window.addEventListener("popstate", () => show(found(location.hash.slice(1))));

  let waiting = 0, width = 0;
  new ResizeObserver(() => {
    if (map.clientWidth === width) return;
    width = map.clientWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  }).observe(map);

  // The table that is in the page without a script opens the map too.
  const images = parts(root).flatMap((one) => (one.kind === "group" ? parts(one) : [one]));
  const byImage = new Map(images.map((one) => [one.image, one]));
  for (const row of document.querySelectorAll("#images tbody tr")) {
    const node = byImage.get(Number(row.dataset.row));
    const name = row.firstElementChild;
    const made = element("button");
    made.type = "button";
    made.append(...name.childNodes);
    made.addEventListener("click", () => { open(node); crumbs.scrollIntoView(); });
    name.append(made);
  }

  document.getElementById("picture").hidden = false;
  width = map.clientWidth;
  show(found(location.hash.slice(1)));
})();
