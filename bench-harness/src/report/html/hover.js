/*<![CDATA[*/
"use strict";
// Values under the pointer. A drawing carries its scales, its lines the places they go through.
const scales = {
  linear: (low, high, share) => low + (high - low) * share,
  log: (low, high, share) => low * Math.pow(high / low, share),
  tail: (low, high, share) => 1 - Math.pow(1 - high, share),
};
const digits = (value) => {
  const places = value >= 99.95 ? 0 : value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;
  return String(Number(value.toFixed(places)));
};
const scaled = (value, steps) => {
  const [scale, unit] = steps.find(([scale]) => value >= scale * 0.9995) || steps.at(-1);
  return digits(value / scale) + unit;
};
const units = {
  time: (us) => scaled(us, [[1e6, " s"], [1e3, " ms"], [1, " µs"]]),
  rate: (n) => scaled(n, [[1e6, " M/s"], [1e3, " k/s"], [1, "/s"]]),
  count: (n) => scaled(n, [[1e6, " M"], [1e3, " k"], [1, ""]]),
  bytes: (n) => scaled(n, [[1e9, " GB"], [1e6, " MB"], [1e3, " kB"], [1, " B"]]),
  seconds: (s) => digits(s) + " s",
  share: (q) => Number((q * 100).toFixed(q > 0.9999 ? 4 : q > 0.999 ? 3 : q > 0.9 ? 2 : 1)) + " %",
};
for (const svg of document.querySelectorAll("svg.plot")) {
  const [left, right, top, bottom] = svg.dataset.frame.split(" ").map(Number);
  const axis = (text) => {
    const [scale, low, high, unit] = text.split(" ");
    return (share) => units[unit](scales[scale](Number(low), Number(high), share));
  };
  const x = axis(svg.dataset.x), y = axis(svg.dataset.y);
  const lines = [...svg.querySelectorAll("polyline[data-name]")].map((line) => ({
    name: line.dataset.name,
    color: line.classList.item(2),
    points: [...line.points],
  }));
  const cross = document.createElementNS(svg.namespaceURI, "path");
  cross.setAttribute("class", "cross");
  const readout = document.createElement("div");
  readout.className = "readout";
  readout.hidden = true;
  svg.append(cross);
  svg.parentElement.append(readout);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const zoom = box.width / svg.viewBox.baseVal.width;
    const at = Math.min(Math.max((event.clientX - box.left) / zoom, left), right);
    cross.setAttribute("d", `M${at} ${top}V${bottom}`);
    const rows = lines.map((line) => {
      const distance = (point) => Math.abs(point.x - at);
      const near = line.points.reduce((a, b) => (distance(b) > distance(a) ? a : b));
      return { ...line, near, off: distance(near) };
    }).filter((row) => 30 > row.off).sort((a, b) => a.near.y - b.near.y);
    const text = [x((at - left) / (right - left))];
    readout.replaceChildren(...text, ...rows.flatMap((row) => {
      const name = document.createElement("b");
      name.className = row.color;
      name.textContent = row.name;
      const value = y((bottom - row.near.y) / (bottom - top));
      return [document.createElement("br"), name, " " + value];
    }));
    readout.hidden = false;
    const beyond = at > (left + right) / 2;
    readout.style.top = `${top * zoom}px`;
    readout.style.left = beyond ? "auto" : `${at * zoom + 12}px`;
    readout.style.right = beyond ? `${box.width - at * zoom + 12}px` : "auto";
  });
  svg.addEventListener("pointerleave", () => {
    readout.hidden = true;
    cross.removeAttribute("d");
  });
}
/*]]>*/
