
// Moving about: links to findings, keys, folding, printing.
(() => {
  const cards = [...document.querySelectorAll(".card")];
  const fold = document.getElementById("fold");
  const search = document.getElementById("search");
  // Cards that were never on the screen have a guessed height, which is corrected on the way there.
  function show(card) {
    const scroll = () => card.scrollIntoView({ block: "start", behavior: "instant" });
    scroll();
    card.focus({ preventScroll: true });
    requestAnimationFrame(() => { scroll(); requestAnimationFrame(scroll); });
  }

  const typing = (element) => element.matches("input, textarea, select") && element.type !== "checkbox";

  function target() {
    const card = /^#finding-\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (!card) return;
    if (card.hidden) filters.reset();
    card.querySelector("details")?.setAttribute("open", "");
    show(card);
  }

  function step(by) {
    const visible = cards.filter((card) => !card.hidden);
    const now = visible.findIndex((card) => card.classList.contains("current"));
    const next = visible[now < 0 ? (by > 0 ? 0 : visible.length - 1) : now + by];
    if (!next) return;
    cards.forEach((card) => card.classList.toggle("current", card === next));
    show(next);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target === search) search.blur();
    if (typing(event.target)) return;
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    }
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });

  fold?.addEventListener("click", () => {
    const stacks = [...document.querySelectorAll("#findings details")];
    const unfold = !stacks.some((stack) => stack.open);
    stacks.forEach((stack) => { stack.open = unfold; });
    fold.textContent = unfold ? "Fold all stacks" : "Unfold all stacks";
  });

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  addEventListener("hashchange", target);
  filters?.apply();
  target();
})();
