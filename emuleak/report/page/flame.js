
// The flame graph: read from the list that stands in the page without scripts, drawn as boxes below their callers.
(() => {
  const panel = document.getElementById("flame");
  if (!panel || !filters) return;
  const CATEGORIES = ["definitely-lost", "indirectly-lost", "possibly-lost", "still-reachable", "library"];
  const NAMES = ["definitely lost", "indirectly lost", "possibly lost", "still reachable", "kept by libraries"];
  const ROW = 24, NARROWEST = 0.8;
  const boxes = document.getElementById("boxes");
  const about = document.getElementById("about");
  const matched = document.getElementById("matched");
  const out = document.getElementById("out");
  const tip = document.getElementById("tip");
  let nodes = read(), root = nodes[0], zoomed = root, wanted = [], open = CATEGORIES.map(() => true);

  function read() {
    const path = [];
    return [...panel.querySelectorAll(".tree li")].map((item) => {
      const text = (selector) => item.querySelector(selector)?.textContent ?? "";
      const depth = Number(item.dataset.d);
      const node = { depth, name: text(".fn"), place: text(".at"), sizes: item.dataset.b.split(" ").map(Number),
        finding: item.dataset.f, parent: depth ? path[depth - 1] : null, branches: [], bytes: 0, box: null };
      node.words = `${node.name}\n${node.place}`.toLowerCase();
      node.parent?.branches.push(node);
      path[depth] = node;
      return node;
    });
  }

  const bytesOf = (node) => node.sizes.reduce((sum, size, index) => sum + (open[index] ? size : 0), 0);
  const chain = (node) => (node ? [...chain(node.parent), node] : []);
  const percent = (part, whole) => {
    const share = whole ? (100 * part) / whole : 0;
    return `${share > 0 && share < 0.1 ? "< 0.1" : share.toFixed(1)} %`;
  };

  function category(node) {
    const sizes = node.sizes.map((size, index) => (open[index] ? size : -1));
    return CATEGORIES[sizes.indexOf(Math.max(...sizes))];
  }

  function describe(node) {
    const lines = [document.createElement("div"), document.createElement("div")];
    const add = (line, kind, text) => {
      const part = document.createElement("span");
      part.className = kind;
      part.textContent = text;
      line.append(part, " ");
    };
    add(lines[0], "fn", node.name);
    if (node.place) add(lines[0], "at", node.place);
    const of = zoomed === root || node === root ? "" : ` (${percent(node.bytes, zoomed.bytes)} of this view)`;
    const kinds = CATEGORIES.map((kind, index) => [NAMES[index], open[index] ? node.sizes[index] : 0])
      .filter(([, size]) => size).map(([kind, size]) => `${size.toLocaleString("en")} ${kind}`);
    add(lines[1], "n", `${filters.many(node.bytes, "byte")}, ${percent(node.bytes, root.bytes)}${of}: ${kinds.join(", ")}`);
    return lines;
  }

  function box(node, left, width, row) {
    const element = document.createElement("button");
    const label = node.branches.length ? node.name : node.name.slice(node.name.lastIndexOf("/") + 1);
    element.type = "button";
    element.tabIndex = node === zoomed ? 0 : -1;
    element.textContent = label;
    element.setAttribute("aria-label", `${node.name} ${node.place}, ${filters.many(node.bytes, "byte")}`);
    if (node !== root) element.classList.add(category(node));
    element.classList.toggle("leaf", node.branches.length === 0 && node !== root);
    element.classList.toggle("thin", (width * boxes.clientWidth) / 100 < 22);
    element.classList.toggle("above", node.depth < zoomed.depth);
    Object.assign(element.style, { left: `${left}%`, top: `${row * ROW}px`, width: `calc(${width}% - 1px)` });
    element.emuleak = node;
    node.box = element;
    boxes.append(element);
    return row;
  }

  function place(node, left, width, row) {
    let deepest = box(node, left, width, row);
    for (const branch of node.branches) {
      const share = node.bytes ? (width * branch.bytes) / node.bytes : 0;
      if (share * boxes.clientWidth >= 100 * NARROWEST) deepest = Math.max(deepest, place(branch, left, share, row + 1));
      left += share;
    }
    return deepest;
  }

  function draw() {
    nodes.forEach((node) => { node.bytes = bytesOf(node); node.box = null; });
    while (!zoomed.bytes && zoomed.parent) zoomed = zoomed.parent;
    boxes.replaceChildren();
    const above = chain(zoomed.parent);
    above.forEach((node, row) => box(node, 0, 100, row));
    const deepest = root.bytes ? place(zoomed, 0, 100, above.length) : -1;
    boxes.style.height = `${(deepest + 1) * ROW + 2}px`;
    out.disabled = zoomed === root;
    mark();
    tell(zoomed);
    if (!root.bytes) about.textContent = "Nothing of these kinds is live.";
  }

  function mark() {
    let sum = 0;
    const hit = (node) => wanted.length > 0 && filters.matches(node.words, wanted);
    const walk = (node, inside) => {
      const found = hit(node);
      if (found && !inside) sum += node.bytes;
      node.box?.classList.toggle("match", found);
      const below = node.branches.map((branch) => walk(branch, inside || found)).includes(true);
      node.box?.classList.toggle("faded", wanted.length > 0 && !(found || inside || below));
      return found || below;
    };
    walk(root, false);
    matched.textContent = wanted.length ? `${filters.many(sum, "byte")} (${percent(sum, root.bytes)}) match the search` : "";
  }

  function tell(node) {
    about.replaceChildren(...describe(node));
    if (!node.finding) return;
    const link = document.createElement("a");
    link.href = `#finding-${node.finding}`;
    link.textContent = `Finding ${node.finding}`;
    about.append(link);
  }

  function zoom(node) {
    zoomed = node;
    tip.hidden = true;
    draw();
    zoomed.box.focus({ preventScroll: true });
  }

  function showTip(node, x, y) {
    tip.replaceChildren(...describe(node));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - width - 8))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(8, y - height - 12) : y + 18}px`;
  }

  const KEYS = {
    ArrowUp: (node) => node.parent,
    ArrowDown: (node) => node.branches.find((branch) => branch.box),
    ArrowRight: (node) => beside(node, 1),
    ArrowLeft: (node) => beside(node, -1),
    Home: () => root,
  };
  function beside(node, step) {
    const row = nodes.filter((other) => other.depth === node.depth && other.box);
    return row[row.indexOf(node) + step];
  }

  boxes.addEventListener("click", (event) => event.target.emuleak && zoom(event.target.emuleak));
  boxes.addEventListener("pointermove", (event) => {
    if (event.target.emuleak && event.pointerType !== "touch") showTip(event.target.emuleak, event.clientX, event.clientY);
    else tip.hidden = true;
  });
  boxes.addEventListener("pointerleave", () => { tip.hidden = true; });
  boxes.addEventListener("focusin", (event) => event.target.emuleak && tell(event.target.emuleak));
  boxes.addEventListener("keydown", (event) => {
    const node = event.target.emuleak;
    if (event.key === "Escape" && zoomed.parent) zoom(zoomed.parent);
    const next = node && KEYS[event.key]?.(node);
    if (!next?.box) return;
    event.preventDefault();
    [node.box.tabIndex, next.box.tabIndex] = [-1, 0];
    next.box.focus();
  });
  out.addEventListener("click", () => zoom(root));
  panel.addEventListener("toggle", draw);
  filters.onChange((now) => {
    const owner = (name) => !now.owners || now.owners.has(name);
    open = CATEGORIES.map((kind) => owner("program") && now.kinds.has(kind));
    open[4] = owner("library") && nodes[0].sizes[4] > 0 && libraryKinds(now.kinds);
    wanted = now.terms;
    draw();
  });
  // Of the library's blocks only the sum is known here: they count while a kind that they have is shown.
  const kinds = new Set([...document.querySelectorAll(".card.library")].map((card) => card.dataset.kind));
  const libraryKinds = (chosen) => !kinds.size || [...kinds].some((kind) => chosen.has(kind));
})();
