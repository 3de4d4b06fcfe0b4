// Draws the views of tools/app/views.py. gr.HTML provides `element`, `props` and `watch`.
const make = (tag, settings, ...children) => {
  const node = Object.assign(document.createElement(tag), settings);
  node.append(...children.filter((child) => child !== null));
  return node;
};
const percent = (share) => share === 0 ? "–" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const swatch = (rgb) => {
  const node = make("i", {className: "swatch"});
  node.style.background = `rgb(${rgb})`;
  return node;
};

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

// images per second, over the last ten that were drawn
function rate(root) {
  const now = performance.now();
  root.drawn = [...(root.drawn || []), now].filter((time) => now - time < 5000).slice(-10);
  return root.drawn.length < 2 ? "" : `, ${(1000 * (root.drawn.length - 1) / (now - root.drawn[0])).toFixed(1)} images/s shown`;
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

async function showClasses(root, data) {
  const ids = await readIds(data.labels);
  // the next frame of the camera: updates only the parts that change
  if (data.live && root.renew?.(ids, data)) return;
  let chosen = null, pointed = null, rows = [];
  const named = (id) => id < data.classes.length ? data.classes[id] : {name: "ignored", rgb: [0, 0, 0], share: 0};
  const color = (i) => {
    const id = ids.at[i];
    return id >= data.classes.length ? [0, 0, 0, 0] : [...data.classes[id].rgb, chosen === null || chosen === id ? 255 : 30];
  };
  const choose = (id) => {
    if (id === chosen) return;
    chosen = id;
    picture.draw();
    for (const row of rows) row.classList.toggle("chosen", row.id_ === id);
  };
  const describe = (i) => {
    const entry = named(ids.at[i]);
    return [swatch(entry.rgb), make("b", {textContent: entry.name}), ` ${percent(entry.share)}`];
  };
  const point = (i) => {
    pointed = i;
    picture.point(i);
    choose(i === null ? null : ids.at[i]);
  };
  const picture = stage(data.image, ids, "The picture under its classes", color, describe, point);
  const side = make("div", {className: "side"});
  const fill = () => {
    const there = data.classes.map((entry, id) => ({...entry, id})).filter((entry) => entry.share > 0);
    there.sort((a, b) => b.share - a.share);
    rows = there.map((entry) => {
      const bar = make("span", {className: "bar"});
      bar.style.setProperty("--share", entry.share / there[0].share);
      bar.style.setProperty("--rgb", `rgb(${entry.rgb})`);
      const row = make("li", {id_: entry.id, tabIndex: 0}, swatch(entry.rgb), make("span", {className: "name", textContent: entry.name}),
                       make("span", {className: "n", textContent: percent(entry.share)}), bar);
      row.classList.toggle("chosen", entry.id === chosen);
      for (const [event, id] of [["pointerenter", entry.id], ["focus", entry.id], ["pointerleave", null], ["blur", null]]) {
        row.addEventListener(event, () => choose(id));
      }
      return row;
    });
    side.replaceChildren(make("h3", {textContent: `${there.length} of ${data.classes.length} classes`}),
      make("ul", {className: "legend"}, ...rows), make("p", {className: "faint", textContent: data.note + (data.live ? rate(root) : "")}));
  };
  fill();
  root.replaceChildren(make("div", {className: "classes"}, make("div", {}, picture, opacity(root, 60)), side));
  root.renew = (nextIds, next) => {
    if (!root.contains(picture) || nextIds.width !== ids.width || nextIds.height !== ids.height) return false;
    Object.assign(ids, nextIds);
    data = next;
    picture.querySelector("img").src = data.image;
    fill();
    if (pointed !== null) point(pointed);
    picture.draw();
    return true;
  };
}

async function showFlows(root, data) {
  const wheel = () => make("img", {className: "wheel", src: data.wheel, alt: "Color wheel: each direction's color"});
  const figures = data.fields.map((field) => make("figure", {},
    make("div", {className: "field"}, make("img", {src: field.picture, alt: field.title}), wheel()),
    make("figcaption", {}, make("b", {textContent: field.title}), ` ${field.note}`)));
  figures.unshift(make("figure", {}, make("div", {className: "field"}, make("img", {src: data.image, alt: "The picture"})),
                       make("figcaption", {textContent: data.note})));
  root.replaceChildren(make("div", {className: "flows"}, ...figures));
}

async function showComparison(root, data) {
  const [a, b] = await Promise.all(data.labels.map(readIds));
  const named = (id) => data.classes[id] || {name: "ignored", rgb: [0, 0, 0]};
  const painted = (ids) => (i) => [...named(ids.at[i]).rgb, ids.at[i] < data.classes.length ? 255 : 0];
  const apart = (i) => a.at[i] === b.at[i] ? [...data.same, 255] : [...data.different, 255];
  const name = (letter, ids, i) => make("span", {}, `${letter} `, swatch(named(ids.at[i]).rgb), make("b", {textContent: named(ids.at[i]).name}));
  const both = (i) => a.at[i] === b.at[i] ? [name("A and B", a, i)] : [name("A", a, i), name("B", b, i)];
  const over = (i) => stages.forEach((view) => view.point(i));
  const stages = [
    stage(data.image, a, "The classes of A", painted(a), (i) => [name("A", a, i)], over),
    stage(data.image, b, "The classes of B", painted(b), (i) => [name("B", b, i)], over),
    stage(data.image, a, "Where A and B differ", apart, both, over)];
  const titles = [["A", data.titles[0]], ["B", data.titles[1]], ["A ≠ B", `${percent(data.share)} of the pixels differ`]];
  const figures = stages.map((view, i) => make("figure", {},
    make("figcaption", {}, make("b", {textContent: titles[i][0]}), ` ${titles[i][1]}`), view));
  const rows = data.pairs.map((pair) => make("tr", {},
    make("td", {}, swatch(named(pair.a).rgb), named(pair.a).name), make("td", {}, swatch(named(pair.b).rgb), named(pair.b).name),
    make("td", {className: "n", textContent: percent(pair.share)})));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...["A sees", "where B sees", "share of the picture"].map(
    (title) => make("th", {textContent: title})))), make("tbody", {}, ...rows));
  figures.push(make("figure", {}, make("figcaption", {}, make("b", {textContent: "Where they differ most"})),
                    rows.length ? table : make("p", {textContent: "Nowhere: the two agree on each pixel."})));
  root.replaceChildren(make("div", {className: "comparison"}, ...figures), opacity(root, 65));
}

const draw = {classes: showClasses, flows: showFlows, comparison: showComparison};
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
