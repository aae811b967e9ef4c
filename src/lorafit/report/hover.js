"use strict";
for (const figure of document.querySelectorAll("figure.plot")) {
  const points = JSON.parse(figure.querySelector("script").textContent);
  const frame = figure.querySelector(".frame");
  const reading = figure.querySelector(".reading");
  const cursor = figure.querySelector(".cursor");
  const atRest = reading.textContent;
  const show = (number) => {
    const [percent, text] = points[number];
    reading.textContent = text;
    cursor.setAttribute("d", `M${percent * 10} 0V400`);
  };
  const nearest = (percent) => {
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < percent) low = middle + 1; else high = middle;
    }
    return low > 0 && percent - points[low - 1][0] < points[low][0] - percent ? low - 1 : low;
  };
  let shown = points.length - 1;
  const box = figure.querySelector("svg");
  box.addEventListener("pointermove", (event) => {
    const { left, width } = box.getBoundingClientRect();
    shown = nearest((event.clientX - left) / width * 100);
    show(shown);
  });
  frame.tabIndex = 0;
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    shown = Math.min(points.length - 1, Math.max(0, shown + step));
    show(shown);
  });
  const rest = () => { reading.textContent = atRest; cursor.setAttribute("d", ""); };
  box.addEventListener("pointerleave", rest);
  frame.addEventListener("blur", rest);
}
