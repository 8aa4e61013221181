"use strict";
// Lists the issues of each run: filters, order, pages, a larger view, a list to copy. It writes text only, never markup.
for (const box of document.querySelectorAll("[data-issues]")) {
  const {classes, rows} = JSON.parse(document.getElementById(box.dataset.issues).textContent);
  const PAGE = 48, shown = box.querySelector(".shown"), said = box.querySelector(".said");
  const control = name => box.querySelector(`[name=${name}]`);
  const label = k => k < 0 ? "none" : classes[k];
  let page = 0;

  for (const [name, key] of [["given", "given"], ["suggested", "suggested"]]) {
    const counts = new Map();
    for (const row of rows) counts.set(row[key], (counts.get(row[key]) || 0) + 1);
    for (const [k, count] of [...counts].sort((a, b) => b[1] - a[1]))
      control(name).append(new Option(`${label(k)} (${count})`, k));
  }

  function chosen() {
    const word = control("search").value.toLowerCase();
    const found = rows.filter(row =>
      (control("given").value === "" || row.given === +control("given").value) &&
      (control("suggested").value === "" || row.suggested === +control("suggested").value) &&
      (control("decision").value === "" || row.decision === control("decision").value) &&
      (word === "" || row.id.toLowerCase().includes(word) || (row.text || "").toLowerCase().includes(word)));
    const by = {
      quality: (a, b) => a.quality - b.quality,
      sure: (a, b) => b.sure - a.sure,
      pair: (a, b) => a.given - b.given || a.suggested - b.suggested || a.quality - b.quality,
      id: (a, b) => a.id.localeCompare(b.id, undefined, {numeric: true}),
    };
    return found.sort(by[control("order").value]);
  }

  function part(name, content, className = "") {
    const made = document.createElement(name);
    made.className = className;
    if (content) made.append(...[content].flat());
    return made;
  }

  function picture(row) {
    const made = document.createElement("img");
    made.src = row.picture;
    made.alt = row.id;
    return made;
  }

  function words(row) {
    const lines = [part("span", ["given ", part("b", label(row.given))])];
    lines.push(part("span", ["suggested ", part("b", label(row.suggested)), ` (${Math.round(100 * row.sure)}% sure)`]));
    if ("true" in row) lines.push(part("span", ["true ", part("b", label(row.true))]));
    lines.push(part("span", `label right with ${Math.round(100 * row.quality)}%: ${row.decision}`), part("span", row.id, "soft"));
    return lines;
  }

  function larger(row) {
    const view = part("dialog", [], "larger"), close = part("button", "Close");
    close.addEventListener("click", () => view.close());
    view.addEventListener("close", () => view.remove());
    view.append(...(row.picture ? [picture(row)] : []), ...(row.text ? [part("p", row.text)] : []),
      part("div", words(row), "words"), close);
    document.body.append(view);
    view.showModal();
  }

  function draw() {
    const found = chosen(), pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    shown.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(row => {
      const item = part("button", [], row.picture ? "item" : "item text");
      item.append(...(row.picture ? [picture(row)] : []), ...(row.text ? [part("p", row.text)] : []),
        part("div", words(row), "words"));
      item.addEventListener("click", () => larger(row));
      return item;
    }));
    shown.classList.toggle("texts", !found.some(row => row.picture));
    said.textContent = `${found.length} of ${rows.length}, page ${page + 1} of ${pages}`;
    control("back").disabled = page === 0;
    control("on").disabled = page === pages - 1;
  }

  for (const name of ["given", "suggested", "decision", "order", "search"])
    control(name).addEventListener("input", () => { page = 0; draw(); });
  control("back").addEventListener("click", () => { page -= 1; draw(); });
  control("on").addEventListener("click", () => { page += 1; draw(); });
  control("copy").addEventListener("click", async () => {
    const cell = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const lines = chosen().map(row => [row.id, label(row.given), label(row.suggested), row.decision, row.quality.toFixed(4)]);
    const text = [["id", "given", "suggested", "decision", "label_quality"], ...lines].map(row => row.map(cell).join(",")).join("\n");
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a page from a file may not write there in every browser
      const area = document.createElement("textarea");
      area.value = text;
      box.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    said.textContent = `${lines.length} lines copied: id,given,suggested,decision,label_quality`;
  });
  box.classList.add("live");
  draw();
}
