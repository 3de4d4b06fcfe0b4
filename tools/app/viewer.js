// Draws the views of tools/app/views.py. gr.HTML provides `element`, `props` and `watch`.
const make = (tag, settings, ...children) => {
  const node = Object.assign(document.createElement(tag), settings);
  node.append(...children.filter((child) => child !== null));
  return node;
};
const span = (className, textContent) => make("span", {className, textContent});
const bold = (textContent) => make("b", {textContent});
// a fraction as text
function percent(fraction) {
  if (fraction === 0) return "0 %";
  return fraction < 0.001 ? "< 0.1 %" : `${(100 * fraction).toFixed(1)} %`;
}
const swatch = (rgb) => {
  const node = make("i", {className: "swatch"});
  node.style.background = `rgb(${rgb})`;
  return node;
};

// what pixels show that belong to no class
const IGNORED = {name: "ignored", rgb: [0, 0, 0]}, TRANSPARENT = [0, 0, 0, 0];

// class ids of a gray PNG
async function readIds(uri) {
  const image = make("img", {src: uri});
  await image.decode();
  const {naturalWidth: width, naturalHeight: height} = image;
  const context = make("canvas", {width, height}).getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, width, height);
  return {width, height, at: Uint8Array.from({length: width * height}, (_, i) => data[4 * i])};
}

// A picture under a layer. `color(i)` returns the RGBA of pixel i, `describe(i)` the text of its
// tooltip, and `over(i)` is called when the pointer enters it.
function stage(image, ids, alt, color, describe, over) {
  const canvas = make("canvas", {width: ids.width, height: ids.height});
  const tip = make("output", {className: "tip", hidden: true});
  const node = make("div", {className: "stage"}, make("img", {src: image, alt}), canvas, tip);
  const context = canvas.getContext("2d"), layer = context.createImageData(ids.width, ids.height);
  node.draw = () => {
    for (let i = 0; i < ids.at.length; i++) layer.data.set(color(i), 4 * i);
    context.putImageData(layer, 0, 0);
  };
  // also called for the same position in another stage
  node.point = (i) => {
    tip.hidden = i === null;
    if (i === null) return;
    const x = (i % ids.width + .5) / ids.width, y = (Math.floor(i / ids.width) + .5) / ids.height;
    tip.replaceChildren(...describe(i));
    tip.style.left = `${100 * x}%`;
    tip.style.top = `${100 * y}%`;
    tip.className = `tip ${x > .6 ? "before" : ""} ${y < .15 ? "below" : ""}`;
  };
  node.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * ids.width);
    const y = Math.floor((event.clientY - box.top) / box.height * ids.height);
    over(x >= 0 && x < ids.width && y >= 0 && y < ids.height ? y * ids.width + x : null);
  });
  node.addEventListener("pointerleave", () => over(null));
  node.draw();
  return node;
}

// images per second of the last ten drawings, as text
function rate(root) {
  const now = performance.now();
  root.drawn = [...(root.drawn || []), now].filter((time) => now - time < 5000).slice(-10);
  if (root.drawn.length < 2) return "";
  const perSecond = 1000 * (root.drawn.length - 1) / (now - root.drawn[0]);
  return `, ${perSecond.toFixed(1)} images/s shown`;
}

function opacity(root, value) {
  const slider = make("input", {type: "range", min: 0, max: 100, value});
  const shown = make("output", {textContent: `${value} %`});
  const set = () => {
    root.style.setProperty("--opacity", slider.value / 100);
    shown.textContent = `${slider.value} %`;
  };
  slider.addEventListener("input", set);
  set();
  return make("label", {className: "opacity"}, "Opacity of the classes", slider, shown);
}

// a class of the legend; `length` is that of its bar, from 0 to 1
function legendRow(entry, length, choose) {
  const bar = make("span", {className: "bar"});
  bar.style.setProperty("--length", length);
  bar.style.setProperty("--rgb", `rgb(${entry.rgb})`);
  const row = make("li", {id_: entry.id, tabIndex: 0}, swatch(entry.rgb), span("name", entry.name),
                   span("n", percent(entry.share)), bar);
  for (const event of ["pointerenter", "focus"]) {
    row.addEventListener(event, () => choose(entry.id));
  }
  for (const event of ["pointerleave", "blur"]) row.addEventListener(event, () => choose(null));
  return row;
}

async function showClasses(root, data) {
  const ids = await readIds(data.labels);
  // the next frame of the camera: updates only the parts that change
  if (data.live && root.renew?.(ids, data)) return;
  let chosen = null, pointed = null, rows = [];
  const entryOf = (id) => data.classes[id] || IGNORED;
  const color = (i) => {
    const id = ids.at[i];
    if (id >= data.classes.length) return TRANSPARENT;
    return [...data.classes[id].rgb, chosen === null || chosen === id ? 255 : 30];
  };
  const choose = (id) => {
    if (id === chosen) return;
    chosen = id;
    picture.draw();
    for (const row of rows) row.classList.toggle("chosen", row.id_ === id);
  };
  const describe = (i) => {
    const entry = entryOf(ids.at[i]);
    const fraction = "share" in entry ? ` ${percent(entry.share)}` : "";
    return [swatch(entry.rgb), bold(entry.name), fraction];
  };
  const point = (i) => {
    pointed = i;
    picture.point(i);
    choose(i === null ? null : ids.at[i]);
  };
  const picture = stage(data.image, ids, "The picture under its classes", color, describe, point);
  const side = make("div", {className: "side"});
  const fill = () => {
    const present = data.classes.map((entry, id) => ({...entry, id}));
    const shown = present.filter((entry) => entry.share > 0).sort((a, b) => b.share - a.share);
    rows = shown.map((entry) => legendRow(entry, entry.share / shown[0].share, choose));
    for (const row of rows) row.classList.toggle("chosen", row.id_ === chosen);
    const title = `${shown.length} of ${data.classes.length} classes`;
    const note = data.note + (data.live ? rate(root) : "");
    side.replaceChildren(make("h3", {textContent: title}),
                         make("ul", {className: "legend"}, ...rows),
                         make("p", {className: "faint", textContent: note}));
  };
  fill();
  const main = make("div", {}, picture, opacity(root, 60));
  root.replaceChildren(make("div", {className: "classes"}, main, side));
  root.renew = (nextIds, next) => {
    const sameSize = nextIds.width === ids.width && nextIds.height === ids.height;
    if (!root.contains(picture) || !sameSize) return false;
    Object.assign(ids, nextIds);
    data = next;
    picture.querySelector("img").src = data.image;
    fill();
    if (pointed !== null) point(pointed);
    picture.draw();
    return true;
  };
}

// the picture, and fields with a legend each: a wheel of directions, or a bar of confidences
async function showFields(root, data) {
  const legend = () => data.kind === "flows"
    ? make("img", {className: "wheel", src: data.wheel, alt: "Color wheel: each direction's color"})
    : make("img", {className: "bar-of-colors", src: data.bar, alt: "From 0 to 100 %"});
  const input = make("div", {className: "field"},
                     make("img", {src: data.image, alt: "The picture"}));
  const figures = [make("figure", {}, input, make("figcaption", {textContent: data.note}))];
  for (const field of data.fields) {
    const picture = make("img", {src: field.picture, alt: field.title});
    figures.push(make("figure", {}, make("div", {className: "field"}, picture, legend()),
                      make("figcaption", {}, bold(field.title), ` ${field.note}`)));
  }
  root.replaceChildren(make("div", {className: "flows"}, ...figures));
}

async function showComparison(root, data) {
  const [a, b] = await Promise.all(data.labels.map(readIds));
  const entryOf = (id) => data.classes[id] || IGNORED;
  const painted = (ids) => (i) => {
    const entry = data.classes[ids.at[i]];
    return entry ? [...entry.rgb, 255] : TRANSPARENT;
  };
  const difference = (i) => [...(a.at[i] === b.at[i] ? data.same : data.different), 255];
  const name = (letter, ids, i) => {
    const entry = entryOf(ids.at[i]);
    return make("span", {}, `${letter} `, swatch(entry.rgb), bold(entry.name));
  };
  const both = (i) => {
    if (a.at[i] === b.at[i]) return [name("A and B", a, i)];
    return [name("A", a, i), name("B", b, i)];
  };
  const over = (i) => stages.forEach((view) => view.point(i));
  const stages = [
    stage(data.image, a, "The classes of A", painted(a), (i) => [name("A", a, i)], over),
    stage(data.image, b, "The classes of B", painted(b), (i) => [name("B", b, i)], over),
    stage(data.image, a, "Where A and B differ", difference, both, over)];
  const titles = [["A", data.titles[0]], ["B", data.titles[1]],
                  ["A ≠ B", `${percent(data.share)} of the pixels differ`]];
  const figures = stages.map((view, i) => make(
    "figure", {}, make("figcaption", {}, bold(titles[i][0]), ` ${titles[i][1]}`), view));
  figures.push(make("figure", {}, make("figcaption", {}, bold("Where they differ most")),
                    differences(data.pairs, entryOf)));
  root.replaceChildren(make("div", {className: "comparison"}, ...figures), opacity(root, 65));
}

// the table of the pairs of classes in which A and B differ
function differences(pairs, entryOf) {
  if (!pairs.length) return make("p", {textContent: "Nowhere: A and B agree on every pixel."});
  const cell = (id) => make("td", {}, swatch(entryOf(id).rgb), entryOf(id).name);
  const rows = pairs.map((pair) => make(
    "tr", {}, cell(pair.a), cell(pair.b),
    make("td", {className: "n", textContent: percent(pair.share)})));
  const titles = ["A predicts", "B predicts", "of all pixels"];
  const head = make("tr", {}, ...titles.map((title) => make("th", {textContent: title})));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

const draw = {classes: showClasses, flows: showFields, confidence: showFields,
              comparison: showComparison};
function show() {
  const root = element.querySelector(".viewer");
  if (!props.value) {
    root.replaceChildren(make("p", {className: "empty", textContent: root.dataset.empty}));
    return;
  }
  const data = JSON.parse(props.value);
  draw[data.kind](root, data);
}
watch("value", show);
show();
