"use strict";
const page = JSON.parse(document.getElementById("page").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const percent = (value, digits = 1) => value === null ? "–" : (100 * value).toFixed(digits);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// ---- light and dark: the reader's system decides until the button is pressed
const theme = $("#theme");
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function showTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colors`);
  theme.setAttribute("aria-pressed", isDark());
}
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

// ---- the confusion matrix: one cell is in the tab order, the arrow keys move it
const matrix = $(".matrix");
if (matrix) {
  const rows = $$("tbody tr", matrix).map((row) => $$("td", row));
  const counted = (cell) => page.models.map((_, model) => Number((cell.dataset.n || "").split(" ")[model] || 0));
  const totals = rows.map((row) => row.reduce((sum, cell) => sum + counted(cell)[0], 0));     // the same for two models
  const place = (cell) => [cell.parentNode.rowIndex - 1, cell.cellIndex - 1];
  const show = (cell) => {
    const [truth, predicted] = place(cell);
    const counts = counted(cell), total = totals[truth];
    const shares = counts.map((count) => total ? `${(100 * count / total).toFixed(2)} %` : "–");
    const [name, other] = [page.classes[truth], page.classes[predicted]];
    const [of, is] = counts.length > 1 ? ["", ""] : ["of ", "is "];
    const what = of + name + " " + is + (truth === predicted ? "found" : `seen as ${other}`);
    const between = total ? (100 * (counts[0] - counts[1]) / total).toFixed(2) : "–";
    const [share, more] = counts.length > 1
      ? [`${between > 0 ? "+" : ""}${between.replace("-", "−")} points`, `A ${shares[0]}, B ${shares[1]}`]
      : [shares[0], `${counts[0].toLocaleString("en")} of ${total.toLocaleString("en")} pixels`];
    const box = $("#cell");
    box.replaceChildren(Object.assign(document.createElement("strong"), {textContent: share}), what,
                        document.createElement("br"), more);
    cell.setAttribute("aria-label", `${share} ${what}, ${more}`);
  };
  rows.flat().forEach((cell) => { cell.tabIndex = -1; });
  rows[0][0].tabIndex = 0;
  matrix.addEventListener("mouseover", (event) => { if (event.target.matches("tbody td")) show(event.target); });
  matrix.addEventListener("focusin", (event) => { if (event.target.matches("tbody td")) show(event.target); });
  matrix.addEventListener("click", (event) => { if (event.target.matches("tbody td")) move(event.target); });
  const move = (cell) => {
    rows.flat().forEach((one) => { one.tabIndex = -1; });
    cell.tabIndex = 0;
    cell.focus();
  };
  const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  matrix.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || !event.target.matches("tbody td")) return;
    event.preventDefault();
    const [row, column] = place(event.target);
    move(rows[clamp(row + step[0], 0, rows.length - 1)][clamp(column + step[1], 0, rows.length - 1)]);
  });
  show(rows[0][0]);
}

// ---- curves: the numbers at the epoch under the pointer, or chosen by the arrow keys
for (const chart of $$(".chart")) {
  const svg = $("svg", chart), series = JSON.parse(svg.dataset.series), cross = $(".cross", svg);
  const longest = series.reduce((one, other) => other.xs.length > one.xs.length ? other : one);
  let at = longest.xs.length - 1;
  const nearest = (xs, x) => xs.reduce((best, each, i) => Math.abs(each - x) < Math.abs(xs[best] - x) ? i : best, 0);
  const show = (index, crossing = true) => {
    at = clamp(index, 0, longest.xs.length - 1);
    const x = longest.xs[at];
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    cross.setAttribute("visibility", crossing ? "visible" : "hidden");
    const values = series.map((one) => `${series.length > 1 ? one.name + " " : ""}${Number(one.ys[nearest(one.xs, x)].toPrecision(4))}`);
    $(".readout", chart).textContent = `epoch ${Number(longest.epochs[at].toFixed(2))}: ${values.join(", ")}`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest(longest.xs, (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width));
  });
  svg.addEventListener("pointerleave", () => show(longest.xs.length - 1, false));
  svg.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    show(at + (event.key === "ArrowLeft" ? -1 : 1));
  });
  show(at, false);
}

// ---- the gallery: which images, in which order
const cards = $$(".card");
let order = cards.map((card) => Number(card.dataset.item));
function value(item, id) {                                  // what a card tells, and what it is sorted by
  const scores = page.items[item];
  const of = (model) => id === "" ? scores.mIoU[model] : scores.iou[model][id];
  if (page.models.length === 1) return of(0);
  return of(0) === null || of(1) === null ? null : of(0) - of(1);
}
function label(item, id) {
  const shown = value(item, id);
  if (page.models.length === 1 || shown === null) return percent(shown);
  return `${shown > 0 ? "+" : shown < 0 ? "−" : ""}${Math.abs(100 * shown).toFixed(1)}`;
}
function arrange() {
  const group = $("input[name=group]:checked").value, id = $("#class").value;
  const chosen = cards.filter((card) => {
    const item = page.items[card.dataset.item];
    return (!group || item.group === group) && (id === "" || item.share[id] > 0);
  });
  const key = (card) => {
    const found = value(card.dataset.item, id);
    return found === null ? Infinity : page.models.length === 1 ? found : -Math.abs(found);
  };
  if (id !== "") chosen.sort((one, other) => key(one) - key(other));
  order = chosen.map((card) => Number(card.dataset.item));
  cards.forEach((card) => { card.parentNode.hidden = !chosen.includes(card); });
  for (const card of chosen) {
    card.parentNode.parentNode.append(card.parentNode);
    $(".score", card).textContent = label(card.dataset.item, id);
  }
  $("#shown").textContent = `${chosen.length} ${chosen.length === 1 ? "image" : "images"}`;
  $("#nothing").hidden = chosen.length > 0;
}
$$("input[name=group]").forEach((radio) => radio.addEventListener("change", arrange));
$("#class").addEventListener("change", arrange);
$(".cards").addEventListener("keydown", (event) => {
  const shown = $$(".cards li:not([hidden]) .card");
  const columns = shown.filter((card) => card.offsetTop === shown[0].offsetTop).length;
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
  const to = shown[shown.indexOf(event.target.closest(".card")) + step];
  if (step && to) {
    event.preventDefault();
    to.focus();
  }
});

// ---- one image, large
const viewer = $("#viewer"), stage = $("#v-stage"), split = $(".split-at");
let current = null, view = 0, shownViews = [], maps = {};
const loaded = new Map();
function item(index) {
  if (!loaded.has(index)) loaded.set(index, JSON.parse($(`#item-${index}`).textContent));
  return loaded.get(index);
}
function viewsOf(entry) {
  const flows = entry.flows.map((flow, i) => ({title: flow.title, kind: "tint", layer: `flow${i}`, note: flow.note, wheel: true}));
  return [...page.views, ...flows, {title: "Image", kind: "plain", layer: "image"}];
}
function open(index) {
  current = index;
  const entry = item(index), scores = page.items[index];
  $("#v-name").textContent = scores.name;
  $("#v-score").textContent = page.models.map((name, model) =>
    `${page.models.length > 1 ? name + ": " : ""}mean IoU ${percent(scores.mIoU[model])} %, ${percent(scores.accuracy[model])} % of the pixels right`).join(" · ");
  $("#v-place").textContent = `${order.indexOf(index) + 1} of ${order.length}`;
  stage.style.setProperty("--ratio", `${scores.size[1]} / ${scores.size[0]}`);
  stage.style.aspectRatio = `${scores.size[1]} / ${scores.size[0]}`;
  listClasses(scores);
  shownViews = viewsOf(entry);
  const tabs = $(".v-tabs");
  tabs.replaceChildren(...shownViews.map((one, i) => {
    const tab = Object.assign(document.createElement("button"), {type: "button", textContent: one.title, id: `tab-${i}`});
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => choose(i));
    return tab;
  }));
  maps = {};
  choose(Math.min(view, shownViews.length - 1));
  if (!viewer.open) {
    viewer.showModal();
    viewer.focus();                                         // not its first button: the arrows browse at once
  }
}
function choose(index) {
  view = index;
  const one = shownViews[index], layers = item(current).layers;
  $$(".v-tabs button").forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === index);
    tab.tabIndex = i === index ? 0 : -1;
  });
  stage.className = `stage ${one.kind}`;
  $(".base", stage).src = one.kind === "plain" ? layers[one.layer] : layers.image;
  $(".base", stage).alt = one.kind === "plain" ? `${one.title} of ${page.items[current].name}` : page.items[current].name;
  for (const [place, layer] of [["left", one.kind === "slide" ? one.left : one.layer], ["right", one.right]]) {
    const image = $(`.${place}`, stage);
    if (layer && one.kind !== "plain") image.src = layers[layer]; else image.removeAttribute("src");
  }
  if (one.kind === "slide") {
    $(".side.l", stage).textContent = one.names[0];
    $(".side.r", stage).textContent = one.names[1];
    split.setAttribute("aria-label", `${one.names[0]} left of the line, ${one.names[1]} right of it`);
  }
  $(".opacity").hidden = one.kind !== "slide" && one.kind !== "tint";
  const legend = (one.legend || []).map(([color, text]) => {
    const entry = document.createElement("span");
    entry.append(swatch(color), text);
    return entry;
  });
  if (one.wheel) legend.push(Object.assign(new Image(64, 64), {src: page.wheel, alt: "Color wheel: the color of a direction"}));
  if (one.note) {
    legend.push(Object.assign(document.createElement("span"), {textContent: `${one.note} The hue says in which direction a place looks for its features, the strength how far.`}));
  }
  $("#v-legend").replaceChildren(...legend);
  $("#v-probe").textContent = "";
}
function swatch(color) {
  const one = document.createElement("i");
  one.className = "swatch";
  one.style.setProperty("--c", color);
  return one;
}
function listClasses(scores) {
  const there = page.classes.map((_, id) => id).filter((id) => scores.iou.some((ious) => ious[id] !== null));
  there.sort((one, other) => scores.share[other] - scores.share[one]);
  $(".v-classes tbody").replaceChildren(...there.map((id) => {
    const row = document.createElement("tr"), name = document.createElement("th");
    name.scope = "row";
    name.append(swatch(page.colors[id]), page.classes[id]);
    row.append(name, ...[...scores.iou.map((ious) => percent(ious[id])), `${percent(scores.share[id])} %`].map((text) =>
      Object.assign(document.createElement("td"), {className: "n", textContent: text})));
    return row;
  }));
}
function setSplit() {
  stage.style.setProperty("--split", `${split.value}%`);
  split.setAttribute("aria-valuetext", `${Math.round(split.value)} % ${$(".side.l").textContent}`);
}
function step(by) {
  const to = order[order.indexOf(current) + by];
  if (to !== undefined) open(to);
}
cards.forEach((card) => card.addEventListener("click", () => open(Number(card.dataset.item))));
split.addEventListener("input", setSplit);
$("#v-opacity").addEventListener("input", (event) => stage.style.setProperty("--opacity", event.target.value / 100));
$("#v-previous").addEventListener("click", () => step(-1));
$("#v-next").addEventListener("click", () => step(1));
$("#v-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("close", () => $(`.card[data-item="${current}"]`).focus());
viewer.addEventListener("keydown", (event) => {
  const onTab = event.target.getAttribute("role") === "tab";
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    if (event.target.matches("input")) return;              // there the arrows move the slider
    event.preventDefault();
    const by = event.key === "ArrowLeft" ? -1 : 1;
    if (!onTab) { step(by); return; }
    choose(clamp(view + by, 0, shownViews.length - 1));
    $(`#tab-${view}`).focus();
  } else if (/^[1-9]$/.test(event.key) && shownViews[event.key - 1]) {
    choose(event.key - 1);
  }
});

// ---- what is under the pointer: read back from the label maps by their colors
const names = {};
page.colors.forEach((color, id) => {
  const key = color.match(/\d+/g).join();
  names[key] = names[key] ? `${names[key]} or ${page.classes[id]}` : page.classes[id];
});
async function pixels(layer) {
  const image = new Image();
  image.src = item(current).layers[layer];
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), {width: image.naturalWidth, height: image.naturalHeight});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  return context;
}
stage.addEventListener("pointermove", async (event) => {
  const box = stage.getBoundingClientRect(), entry = current;
  const across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
  if (across < 0 || across >= 1 || down < 0 || down >= 1) return;
  const said = [];
  for (const [layer, title] of page.probes) {
    maps[layer] = maps[layer] || pixels(layer);
    const context = await maps[layer];
    const {width, height} = context.canvas;
    const [red, green, blue, alpha] = context.getImageData(Math.floor(across * width), Math.floor(down * height), 1, 1).data;
    said.push(`${title}: ${alpha ? names[[red, green, blue].join()] || "?" : "not counted"}`);
  }
  if (entry === current) $("#v-probe").textContent = said.join(" · ");
});
stage.addEventListener("pointerleave", () => { $("#v-probe").textContent = ""; });
