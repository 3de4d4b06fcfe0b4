"use strict";
const page = JSON.parse(document.getElementById("page").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const percent = (value, digits = 1) => value === null ? "–" : (100 * value).toFixed(digits);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// ---- light and dark: the system's setting applies until the button is pressed
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

// ---- the confusion matrix: a single cell is in the tab order, the arrow keys move to others
const matrix = $(".matrix");
if (matrix) {
  const rows = $$("tbody tr", matrix).map((row) => $$("td", row));
  const countsOf = (cell) => {
    const counts = (cell.dataset.n || "").split(" ");
    return page.models.map((_, model) => Number(counts[model] || 0));
  };
  // labeled pixels of each class, which are the same for two models
  const totals = rows.map((row) => row.reduce((sum, cell) => sum + countsOf(cell)[0], 0));
  const position = (cell) => [cell.parentNode.rowIndex - 1, cell.cellIndex - 1];
  const show = (cell) => {
    const [label, prediction] = position(cell);
    const counts = countsOf(cell), total = totals[label];
    const shares = counts.map((count) => total ? `${(100 * count / total).toFixed(2)} %` : "–");
    const [name, other] = [page.classes[label], page.classes[prediction]];
    const [of, is] = counts.length > 1 ? ["", ""] : ["of ", "is "];
    const outcome = label === prediction ? "predicted correctly" : `predicted as ${other}`;
    const sentence = `${of}${name} ${is}${outcome}`;
    const difference = total ? (100 * (counts[0] - counts[1]) / total).toFixed(2) : "–";
    const signed = (difference > 0 ? "+" : "") + difference.replace("-", "−");
    const [headline, details] = counts.length > 1
      ? [`${signed} points`, `A ${shares[0]}, B ${shares[1]}`]
      : [shares[0], `${counts[0].toLocaleString("en")} of ${total.toLocaleString("en")} pixels`];
    const strong = Object.assign(document.createElement("strong"), {textContent: headline});
    $("#cell").replaceChildren(strong, sentence, document.createElement("br"), details);
    cell.setAttribute("aria-label", `${headline} ${sentence}, ${details}`);
  };
  rows.flat().forEach((cell) => { cell.tabIndex = -1; });
  rows[0][0].tabIndex = 0;
  const onCell = (action) => (event) => {
    if (event.target.matches("tbody td")) action(event.target);
  };
  const move = (cell) => {
    rows.flat().forEach((other) => { other.tabIndex = -1; });
    cell.tabIndex = 0;
    cell.focus();
  };
  matrix.addEventListener("mouseover", onCell(show));
  matrix.addEventListener("focusin", onCell(show));
  matrix.addEventListener("click", onCell(move));
  const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  matrix.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || !event.target.matches("tbody td")) return;
    event.preventDefault();
    const [row, column] = position(event.target);
    const last = rows.length - 1;
    move(rows[clamp(row + step[0], 0, last)][clamp(column + step[1], 0, last)]);
  });
  show(rows[0][0]);
}

// ---- charts: the numbers at the epoch under the pointer, or chosen by the arrow keys
for (const chart of $$(".chart")) {
  const svg = $("svg", chart), series = JSON.parse(svg.dataset.series), cross = $(".cross", svg);
  const longest = series.reduce((best, line) => line.xs.length > best.xs.length ? line : best);
  let at = longest.xs.length - 1;
  const nearest = (xs, x) => xs.reduce(
    (best, candidate, i) => Math.abs(candidate - x) < Math.abs(xs[best] - x) ? i : best, 0);
  const show = (index, crossing = true) => {
    at = clamp(index, 0, longest.xs.length - 1);
    const x = longest.xs[at];
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    cross.setAttribute("visibility", crossing ? "visible" : "hidden");
    const values = series.map((line) => {
      const number = Number(line.ys[nearest(line.xs, x)].toPrecision(4));
      return series.length > 1 ? `${line.name} ${number}` : `${number}`;
    });
    const epoch = Number(longest.epochs[at].toFixed(2));
    $(".readout", chart).textContent = `epoch ${epoch}: ${values.join(", ")}`;
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
// what a card shows and is sorted by: a score of one model, or a difference of two
function value(item, id) {
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
    const score = value(card.dataset.item, id);
    if (score === null) return Infinity;
    return page.models.length === 1 ? score : -Math.abs(score);
  };
  if (id !== "") chosen.sort((a, b) => key(a) - key(b));
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

// ---- the viewer of a single image
const viewer = $("#viewer"), stage = $("#v-stage"), split = $(".split-at");
let current = null, view = 0, shownViews = [], maps = {};
const loaded = new Map();
function item(index) {
  if (!loaded.has(index)) loaded.set(index, JSON.parse($(`#item-${index}`).textContent));
  return loaded.get(index);
}
function viewsOf(entry) {
  const flows = entry.flows.map((flow, i) => (
    {title: flow.title, kind: "tint", layer: `flow${i}`, note: flow.note, wheel: true}));
  return [...page.views, ...flows, {title: "Image", kind: "plain", layer: "image"}];
}
function open(index) {
  current = index;
  const entry = item(index), scores = page.items[index];
  $("#v-name").textContent = scores.name;
  $("#v-score").textContent = page.models.map((name, model) => {
    const prefix = page.models.length > 1 ? `${name}: ` : "";
    const iou = percent(scores.mIoU[model]), accuracy = percent(scores.accuracy[model]);
    return `${prefix}mean IoU ${iou} %, ${accuracy} % of the pixels right`;
  }).join(" · ");
  $("#v-place").textContent = `${order.indexOf(index) + 1} of ${order.length}`;
  stage.style.setProperty("--ratio", `${scores.size[1]} / ${scores.size[0]}`);
  stage.style.aspectRatio = `${scores.size[1]} / ${scores.size[0]}`;
  listClasses(scores);
  shownViews = viewsOf(entry);
  const tabs = $(".v-tabs");
  tabs.replaceChildren(...shownViews.map((shown, i) => {
    const tab = document.createElement("button");
    Object.assign(tab, {type: "button", textContent: shown.title, id: `tab-${i}`});
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => choose(i));
    return tab;
  }));
  maps = {};
  choose(Math.min(view, shownViews.length - 1));
  if (!viewer.open) {
    viewer.showModal();
    showTab();
    // not its first button, so that the arrow keys change the image at once
    viewer.focus();
  }
}
// the tabs of a narrow window scroll
function showTab() {
  $(`#tab-${view}`).scrollIntoView({block: "nearest", inline: "nearest"});
}
function choose(index) {
  view = index;
  const shown = shownViews[index], layers = item(current).layers;
  $$(".v-tabs button").forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === index);
    tab.tabIndex = i === index ? 0 : -1;
  });
  showTab();
  stage.className = `stage ${shown.kind}`;
  $(".base", stage).src = shown.kind === "plain" ? layers[shown.layer] : layers.image;
  const name = page.items[current].name;
  $(".base", stage).alt = shown.kind === "plain" ? `${shown.title} of ${name}` : name;
  const left = shown.kind === "slide" ? shown.left : shown.layer;
  for (const [side, layer] of [["left", left], ["right", shown.right]]) {
    const image = $(`.${side}`, stage);
    if (layer && shown.kind !== "plain") image.src = layers[layer];
    else image.removeAttribute("src");
  }
  if (shown.kind === "slide") {
    const [leftName, rightName] = shown.names;
    $(".side.l", stage).textContent = leftName;
    $(".side.r", stage).textContent = rightName;
    split.setAttribute("aria-label", `${leftName} left of the line, ${rightName} right of it`);
  }
  $(".opacity").hidden = shown.kind !== "slide" && shown.kind !== "tint";
  const legend = (shown.legend || []).map(([color, text]) => {
    const entry = document.createElement("span");
    entry.append(swatch(color), text);
    return entry;
  });
  if (shown.wheel) {
    const wheel = Object.assign(new Image(64, 64), {src: page.wheel});
    wheel.alt = "Color wheel: the color of a direction";
    legend.push(wheel);
  }
  if (shown.note) {
    const note = document.createElement("span");
    note.textContent = `${shown.note} The hue is the direction from which a position takes its ` +
      "features, the saturation the distance.";
    legend.push(note);
  }
  $("#v-legend").replaceChildren(...legend);
  $("#v-probe").textContent = "";
}
function swatch(color) {
  const element = document.createElement("i");
  element.className = "swatch";
  element.style.setProperty("--c", color);
  return element;
}
function listClasses(scores) {
  const isPresent = (id) => scores.iou.some((ious) => ious[id] !== null);
  const present = page.classes.map((_, id) => id).filter(isPresent);
  present.sort((a, b) => scores.share[b] - scores.share[a]);
  $(".v-classes tbody").replaceChildren(...present.map((id) => {
    const row = document.createElement("tr"), name = document.createElement("th");
    name.scope = "row";
    name.append(swatch(page.colors[id]), page.classes[id]);
    const ious = scores.iou.map((perClass) => percent(perClass[id]));
    const texts = [...ious, `${percent(scores.share[id])} %`];
    row.append(name, ...texts.map((text) =>
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
$("#v-opacity").addEventListener("input", (event) => {
  stage.style.setProperty("--opacity", event.target.value / 100);
});
$("#v-previous").addEventListener("click", () => step(-1));
$("#v-next").addEventListener("click", () => step(1));
$("#v-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("close", () => $(`.card[data-item="${current}"]`).focus());
viewer.addEventListener("keydown", (event) => {
  const onTab = event.target.getAttribute("role") === "tab";
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    // the arrow keys move a slider that has the focus
    if (event.target.matches("input")) return;
    event.preventDefault();
    const by = event.key === "ArrowLeft" ? -1 : 1;
    if (!onTab) { step(by); return; }
    choose(clamp(view + by, 0, shownViews.length - 1));
    $(`#tab-${view}`).focus();
  } else if (/^[1-9]$/.test(event.key) && shownViews[event.key - 1]) {
    choose(event.key - 1);
  }
});

// ---- the classes at the pointer: read from the label maps by their colors
const names = {};
page.colors.forEach((color, id) => {
  const key = color.match(/\d+/g).join();
  names[key] = names[key] ? `${names[key]} or ${page.classes[id]}` : page.classes[id];
});
async function pixels(layer) {
  const image = new Image();
  image.src = item(current).layers[layer];
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {width: image.naturalWidth, height: image.naturalHeight});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  return context;
}
stage.addEventListener("pointermove", async (event) => {
  const box = stage.getBoundingClientRect(), entry = current;
  const across = (event.clientX - box.left) / box.width;
  const down = (event.clientY - box.top) / box.height;
  if (across < 0 || across >= 1 || down < 0 || down >= 1) return;
  const texts = [];
  for (const [layer, title] of page.probes) {
    maps[layer] = maps[layer] || pixels(layer);
    const context = await maps[layer];
    const {width, height} = context.canvas;
    const x = Math.floor(across * width), y = Math.floor(down * height);
    const [red, green, blue, alpha] = context.getImageData(x, y, 1, 1).data;
    texts.push(`${title}: ${alpha ? names[[red, green, blue].join()] || "?" : "ignored"}`);
  }
  if (entry === current) $("#v-probe").textContent = texts.join(" · ");
});
stage.addEventListener("pointerleave", () => { $("#v-probe").textContent = ""; });
