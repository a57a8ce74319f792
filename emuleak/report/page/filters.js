
"use strict";
document.documentElement.classList.add("js");

// The filters: by kind, owner, words and size. What stands in the page is the data; nothing is kept twice.
const filters = (() => {
  const search = document.getElementById("search");
  if (!search) return null;
  const least = document.getElementById("least");
  const clear = document.getElementById("clear");
  const shown = document.getElementById("shown");
  const nothing = document.getElementById("nothing");
  const hidden = document.getElementById("hidden");
  const pills = [...document.querySelectorAll("#filters input[type=checkbox]")];
  const cards = [...document.querySelectorAll(".card")].map((element) => ({
    element,
    kind: element.dataset.kind,
    owner: element.dataset.owner,
    bytes: Number(element.dataset.bytes),
    blocks: Number(element.dataset.blocks),
    findings: Number(element.dataset.findings),
    leak: "leak" in element.dataset,
    words: null,
  }));
  const listeners = [];
  const UNITS = { "": 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

  const many = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

  function bytesOf(text) {
    const parts = /^\s*(\d+(?:[.,]\d+)?)?\s*([kmgtb]?)(?:i?b|ytes)?\s*$/i.exec(text);
    if (!parts) return NaN;
    return Number((parts[1] || "0").replace(",", ".")) * UNITS[parts[2].toLowerCase()];
  }

  function wordsOf(card) {
    if (card.words === null) {
      const parts = card.element.querySelectorAll(".fn, .at, figcaption");
      card.words = [...parts].map((part) => part.textContent.toLowerCase()).join("\n");
    }
    return card.words;
  }

  const terms = () => search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (text, wanted) => wanted.every((term) => text.includes(term));

  function state() {
    const checked = (name) => new Set(pills.filter((p) => p.name === name && p.checked).map((p) => p.value));
    const owners = pills.some((pill) => pill.name === "owner") ? checked("owner") : null;
    return { kinds: checked("kind"), owners, terms: terms(), least: bytesOf(least.value) };
  }

  const passes = (card, now) => now.kinds.has(card.kind) && (!now.owners || now.owners.has(card.owner))
    && !(card.bytes < now.least) && matches(wordsOf(card), now.terms);

  function sum(chosen) {
    const leaks = chosen.filter((card) => card.leak);
    const add = (of, key) => of.reduce((total, card) => total + card[key], 0);
    return { findings: add(chosen, "findings"), bytes: add(leaks, "bytes"), blocks: add(leaks, "blocks") };
  }

  function tell(visible) {
    const now = sum(visible), all = sum(cards);
    const part = visible.length < cards.length;
    const what = part ? `${now.findings.toLocaleString("en")} of ${many(all.findings, "finding")}` : many(all.findings, "finding");
    const lost = part ? `${now.bytes.toLocaleString("en")} of ${many(all.bytes, "byte")}` : many(all.bytes, "byte");
    const leaks = all.blocks ? `; ${lost} not freed, in ${many(now.blocks, "block")}` : "";
    const rest = hidden ? `; ${many(Number(hidden.dataset.findings), "more finding")} not listed` : "";
    shown.textContent = `Showing ${what}${leaks}${rest}`;
  }

  function apply() {
    const now = state();
    const visible = cards.filter((card) => {
      const passed = passes(card, now);
      card.element.hidden = !passed;
      return passed;
    });
    least.setAttribute("aria-invalid", String(Number.isNaN(now.least)));
    clear.disabled = !search.value && !least.value && pills.every((pill) => pill.checked);
    nothing.hidden = visible.length > 0;
    tell(visible);
    listeners.forEach((listener) => listener(now));
  }

  function reset() {
    search.value = "";
    least.value = "";
    pills.forEach((pill) => { pill.checked = true; });
    apply();
  }

  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(apply, 60); };
  search.addEventListener("input", soon);
  least.addEventListener("input", soon);
  pills.forEach((pill) => pill.addEventListener("change", apply));
  clear.addEventListener("click", () => { reset(); search.focus(); });
  return { apply, reset, state, matches, many, search, onChange: (listener) => listeners.push(listener) };
})();
