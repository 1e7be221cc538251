"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [at, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const body = table.tBodies[0];
      const numeric = [...body.rows].some(row => row.cells[at].dataset.v !== undefined);
      const now = head.getAttribute("aria-sort");
      const down = now === null ? numeric : now === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = row => {
        const cell = row.cells[at];
        if (!numeric) return cell.textContent;
        return cell.dataset.v === undefined ? NaN : Number(cell.dataset.v);
      };
      const order = (one, two) => {
        const [a, b] = [value(one), value(two)];
        if (!numeric) return a.localeCompare(b, "en", { numeric: true }) * (down ? -1 : 1);
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
        return down ? b - a : a - b;
      };
      body.append(...[...body.rows].sort(order));
    });
  }
}
