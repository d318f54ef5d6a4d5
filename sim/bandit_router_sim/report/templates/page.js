// Draws every plot when it comes near the screen, or all of them before printing; hides and shows policies on all plots.
(() => {
  "use strict";
  const PRINT_WIDTHS = { n1: 690, n2: 338, n3: 222 };
  const HEIGHTS = { small: 200, medium: 280, tall: 400 };
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const boxes = [...document.querySelectorAll(".plot")];
  const chips = [...document.querySelectorAll(".chip")];
  const hidden = new Set();
  const canPoint = matchMedia("(pointer: fine)").matches;

  function draw(box) {
    if (box.dataset.drawn) return;
    box.dataset.drawn = "yes";
    const { data, layout } = figures[box.id];
    for (const trace of data) if (hidden.has(trace.meta)) trace.visible = false;
    // Without a mouse a drag scrolls the page; it must not zoom.
    Plotly.newPlot(box, data, { ...layout, dragmode: canPoint ? "zoom" : false }, { responsive: true, displayModeBar: false });
  }

  function toggle(chip) {
    const policy = chip.dataset.policy;
    const isShown = hidden.delete(policy) || !hidden.add(policy);
    chip.setAttribute("aria-pressed", String(isShown));
    for (const box of boxes.filter((candidate) => candidate.dataset.drawn)) {
      const indices = box.data.flatMap((trace, index) => (trace.meta === policy ? [index] : []));
      if (indices.length) Plotly.restyle(box, { visible: isShown }, indices);
    }
  }

  function sizeForPaper() {
    for (const box of boxes) {
      draw(box);
      const columns = Object.keys(PRINT_WIDTHS).find((name) => box.closest(".grid").classList.contains(name));
      Plotly.relayout(box, { width: PRINT_WIDTHS[columns], height: HEIGHTS[box.closest("figure").className], autosize: false });
    }
  }

  function sizeForScreen() {
    for (const box of boxes) Plotly.relayout(box, { width: null, height: null, autosize: true });
  }

  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "800px" },
  );
  boxes.forEach((box) => near.observe(box));
  chips.forEach((chip) => chip.addEventListener("click", () => toggle(chip)));
  addEventListener("beforeprint", sizeForPaper);
  addEventListener("afterprint", sizeForScreen);
})();
