// Draws what tools/app/views.py tells: `element`, `props` and `watch` are those of a gr.HTML component.
const make = (tag, settings, ...children) => {
  const one = Object.assign(document.createElement(tag), settings);
  one.append(...children.filter((child) => child !== null));
  return one;
};
const percent = (share) => share === 0 ? "–" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const swatch = (rgb) => {
  const one = make("i", {className: "swatch"});
  one.style.background = `rgb(${rgb})`;
  return one;
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

// a picture under a layer: `color(i)` gives RGBA of pixel i, `say(i)` what is told there, `over(i)` hears of the pointer
function stage(image, ids, alt, color, say, over) {
  const canvas = make("canvas", {width: ids.width, height: ids.height});
  const tip = make("output", {className: "tip", hidden: true});
  const one = make("div", {className: "stage"}, make("img", {src: image, alt}), canvas, tip);
  const context = canvas.getContext("2d"), layer = context.createImageData(ids.width, ids.height);
  one.draw = () => {
    for (let i = 0; i < ids.at.length; i++) layer.data.set(color(i), 4 * i);
    context.putImageData(layer, 0, 0);
  };
  one.point = (i) => {                                      // also from another stage, at the same place
    tip.hidden = i === null;
    if (i === null) return;
    const x = (i % ids.width + .5) / ids.width, y = (Math.floor(i / ids.width) + .5) / ids.height;
    tip.replaceChildren(...say(i));
    tip.style.left = `${100 * x}%`;
    tip.style.top = `${100 * y}%`;
    tip.className = `tip ${x > .6 ? "before" : ""} ${y < .15 ? "below" : ""}`;
  };
  one.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * ids.width);
    const y = Math.floor((event.clientY - box.top) / box.height * ids.height);
    over(x >= 0 && x < ids.width && y >= 0 && y < ids.height ? y * ids.width + x : null);
  });
  one.addEventListener("pointerleave", () => over(null));
  one.draw();
  return one;
}

// images a second, of the last ten that were drawn
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
  if (data.live && root.renew?.(ids, data)) return;         // the next frame of a camera: only what changes
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
  const say = (i) => {
    const one = named(ids.at[i]);
    return [swatch(one.rgb), make("b", {textContent: one.name}), ` ${percent(one.share)}`];
  };
  const point = (i) => {
    pointed = i;
    picture.point(i);
    choose(i === null ? null : ids.at[i]);
  };
  const picture = stage(data.image, ids, "The picture under its classes", color, say, point);
  const side = make("div", {className: "side"});
  const fill = () => {
    const there = data.classes.map((one, id) => ({...one, id})).filter((one) => one.share > 0);
    there.sort((one, other) => other.share - one.share);
    rows = there.map((one) => {
      const bar = make("span", {className: "bar"});
      bar.style.setProperty("--share", one.share / there[0].share);
      bar.style.setProperty("--rgb", `rgb(${one.rgb})`);
      const row = make("li", {id_: one.id, tabIndex: 0}, swatch(one.rgb), make("span", {className: "name", textContent: one.name}),
                       make("span", {className: "n", textContent: percent(one.share)}), bar);
      row.classList.toggle("chosen", one.id === chosen);
      for (const [event, id] of [["pointerenter", one.id], ["focus", one.id], ["pointerleave", null], ["blur", null]]) {
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
  const over = (i) => stages.forEach((one) => one.point(i));
  const stages = [
    stage(data.image, a, "The classes of A", painted(a), (i) => [name("A", a, i)], over),
    stage(data.image, b, "The classes of B", painted(b), (i) => [name("B", b, i)], over),
    stage(data.image, a, "Where A and B differ", apart, both, over)];
  const titles = [["A", data.titles[0]], ["B", data.titles[1]], ["A ≠ B", `${percent(data.share)} of the pixels differ`]];
  const figures = stages.map((one, i) => make("figure", {},
    make("figcaption", {}, make("b", {textContent: titles[i][0]}), ` ${titles[i][1]}`), one));
  const rows = data.pairs.map((pair) => make("tr", {},
    make("td", {}, swatch(named(pair.a).rgb), named(pair.a).name), make("td", {}, swatch(named(pair.b).rgb), named(pair.b).name),
    make("td", {className: "n", textContent: percent(pair.share)})));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...["A sees", "where B sees", "share of the picture"].map(
    (title) => make("th", {textContent: title})))), make("tbody", {}, ...rows));
  figures.push(make("figure", {}, make("figcaption", {}, make("b", {textContent: "What is seen differently"})),
                    rows.length ? table : make("p", {textContent: "Nothing: the two agree everywhere."})));
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
