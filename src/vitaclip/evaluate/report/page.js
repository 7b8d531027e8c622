// Searches the classes: filters their list, and marks the rows and columns of those that are named in the matrix.
const { names, cells } = JSON.parse(document.getElementById("confusions").textContent);
const rows = [...document.querySelectorAll("#rows tbody tr")];
const [found, search, detail] = ["found", "search", "detail"].map((id) => document.getElementById(id));
const [scroller, picture, bands] = ["scroller", "picture", "bands"].map((id) => document.getElementById(id));
const table = document.querySelector("table.heat");
const SHOWN = 3;

function make(tag, style, text = "") {
  const made = document.createElement(tag);
  made.className = style;
  made.textContent = text;
  return made;
}

// A line of counts: of one row (what a class was called), or of one column (what was called so).
function line(title, counted) {
  const made = make("p", "", title + " ");
  for (const [k, count] of counted.sort((a, b) => b[1] - a[1])) {
    const chip = make("span", "chip", names[k] + "\u00a0");
    chip.append(make("b", "", count));
    made.append(chip, " ");
  }
  if (!counted.length) made.append(make("span", "note", "none"));
  return made;
}

function describe(k) {
  const made = make("div", "described");
  made.append(make("h4", "", names[k]));
  made.append(line("Its videos are called", cells.filter(([t]) => t === k).map(([, c, n]) => [c, n])));
  made.append(line("Videos called so are of", cells.filter(([, c]) => c === k).map(([t, , n]) => [t, n])));
  return made;
}

function mark(picked) {
  table?.querySelectorAll(".picked").forEach((cell) => cell.classList.remove("picked"));
  bands?.replaceChildren();
  for (const k of picked) {
    for (const row of table?.rows ?? []) row.cells[k + 1]?.classList.add("picked");
    for (const cell of table?.tBodies[0].rows[k].cells ?? []) cell.classList.add("picked");
    for (const side of bands ? ["row", "column"] : []) {
      const band = make("i", side);
      band.style.setProperty("--place", k);
      bands.append(band);
    }
  }
  if (picked.length && scroller && !document.getElementById("whole").checked) {
    const cell = picture.clientWidth / names.length;
    const centre = (room) => Math.max(picked[0] * cell - room / 3, 0);
    scroller.scrollTo(centre(scroller.clientWidth), centre(scroller.clientHeight));
  }
}

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (text) => words.every((word) => text.toLowerCase().includes(word));
  for (const row of rows) row.hidden = !matches(row.textContent);
  const count = rows.filter((row) => !row.hidden).length;
  found.textContent = `${count} class${count === 1 ? "" : "es"}`;
  const named = words.length ? [...names.keys()].filter((k) => matches(names[k])) : [];
  named.sort((a, b) => (names[b].toLowerCase() === words.join(" ")) - (names[a].toLowerCase() === words.join(" ")));
  const picked = named.slice(0, SHOWN);
  detail.replaceChildren(...picked.map(describe));
  const more = named.length - picked.length;
  if (more) detail.append(make("p", "note", `and ${more} more name${more === 1 ? "" : "s"} with these words`));
  mark(picked);
});

for (const kind of picture ? ["pointermove", "click"] : []) {
  picture.addEventListener(kind, (event) => {
    const { left, top, width, height } = picture.getBoundingClientRect();
    const place = (offset, length) => Math.min(Math.max(Math.floor((offset / length) * names.length), 0), names.length - 1);
    const [chosen, truth] = [place(event.clientX - left, width), place(event.clientY - top, height)];
    const videos = cells.filter(([t]) => t === truth).reduce((sum, [, , n]) => sum + n, 0);
    const count = cells.find(([t, c]) => t === truth && c === chosen)?.[2] ?? 0;
    const said = truth === chosen ? "named right" : `called ${names[chosen]}`;
    document.getElementById("cell").textContent = `${names[truth]}: ${count} of ${videos} ${said}`;
  });
}
