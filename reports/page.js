"use strict";
// A click on a heading sorts its table: numbers from high to low first, texts from A on, what is missing last.
const number = (cell) => parseFloat(cell.textContent.replace(/,/g, ""));
for (const table of document.querySelectorAll("table.rows")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const isText = head.classList.contains("text");
    const before = head.getAttribute("aria-sort");
    const up = before ? before === "descending" : isText;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [a.cells[column], b.cells[column]];
      if (isText) return (up ? 1 : -1) * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
      const [p, q] = [number(x), number(y)];
      if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
      return (up ? 1 : -1) * (p - q);
    });
    table.tBodies[0].append(...rows);
  }));
}
for (const field of document.querySelectorAll("input[type=search]")) {
  const rows = [...field.parentElement.querySelectorAll("tbody tr")];
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
