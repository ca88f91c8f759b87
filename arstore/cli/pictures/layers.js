"use strict";
(() => {
  const parents = JSON.parse(document.getElementById("data").textContent).parents;
  const graph = document.getElementById("graph");
  const rows = Array.from(graph.children);
  const search = document.getElementById("search");
  const matches = document.getElementById("matches");
  const folded = new Set();
  // Rows come after their parents, so one pass backwards counts all that is above each of them.
  const above = rows.map(() => 0);
  for (let at = rows.length - 1; at >= 0; at -= 1) {
    if (parents[at] >= 0) above[parents[at]] += above[at] + 1;
  }
  let here = 0;

  function show() {
    const isShown = [];
    rows.forEach((row, at) => {
      const parent = parents[at];
      isShown[at] = parent < 0 || (isShown[parent] && !folded.has(parent));
      row.hidden = !isShown[at];
      row.classList.toggle("folded", folded.has(at));
      if (above[at]) row.setAttribute("aria-expanded", String(!folded.has(at)));
      const what = row.querySelector(".what");
      if (folded.has(at)) what.dataset.folded = `+ ${above[at]} more`;
    });
  }

  function fold(at, isFolded) {
    if (!above[at] || folded.has(at) === isFolded) return false;
    if (isFolded) folded.add(at); else folded.delete(at);
    show();
    return true;
  }

  function go(at) {
    if (at < 0 || at >= rows.length) return;
    for (let parent = parents[at]; parent >= 0; parent = parents[parent]) folded.delete(parent);
    show();
    rows[here].tabIndex = -1;
    here = at;
    rows[here].tabIndex = 0;
    rows[here].focus();
  }

  function step(from, by) {
    let at = from + by;
    while (at >= 0 && at < rows.length && rows[at].hidden) at += by;
    return at;
  }

  graph.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const keys = {
      ArrowDown: () => go(step(here, 1)),
      ArrowUp: () => go(step(here, -1)),
      ArrowRight: () => fold(here, false) || (above[here] && go(here + 1)),
      ArrowLeft: () => fold(here, true) || go(parents[here]),
      Enter: () => fold(here, !folded.has(here)),
      Home: () => go(0),
      End: () => go(step(rows.length, -1)),
      Escape: () => { folded.clear(); show(); },
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  graph.addEventListener("click", (event) => {
    const at = rows.indexOf(event.target.closest("li"));
    if (at < 0 || String(window.getSelection())) return;
    rows[here].tabIndex = -1;
    here = at;
    rows[here].tabIndex = 0;
    fold(at, !folded.has(at));
  });
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    const found = rows.filter((row) => {
      const isFound = wanted !== "" && `${row.getAttribute("aria-label")} ${row.querySelector("code")?.title ?? ""}`
        .toLowerCase().includes(wanted);
      row.classList.toggle("found", isFound);
      return isFound;
    });
    matches.textContent = wanted ? `${found.length} of ${rows.length} rows` : "";
    if (!found.length) return;
    for (const row of found) {
      for (let at = parents[rows.indexOf(row)]; at >= 0; at = parents[at]) folded.delete(at);
    }
    show();
    found[0].scrollIntoView({ block: "center" });
  });
  search.addEventListener("keydown", (event) => {
    const first = rows.findIndex((row) => row.classList.contains("found"));
    if (event.key === "Enter" && first >= 0) go(first);
  });

  rows.forEach((row, at) => { row.tabIndex = at ? -1 : 0; });
  search.closest("p").hidden = false;
  show();
})();
