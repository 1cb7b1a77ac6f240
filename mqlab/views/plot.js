// A plot in the page: Python draws it, native sliders ask for it anew, one question at a time.
let plots = 0;

function make(tag, attributes = {}, ...inside) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...inside);
  return el;
}

const told = (value) => Number(value).toLocaleString("en", { maximumFractionDigits: 6 });

function render({ model, el }) {
  const name = `mqlab-plot-${plots++}`;
  const title = make("div", { class: "mqlab-plot-title", id: `${name}-title` }, model.get("_title"));
  const picture = make("div", { class: "mqlab-plot-picture" });
  const says = make("p", { class: "mqlab-plot-says", "aria-live": "polite" });
  const inputs = model.get("_sliders").map((slider) => {
    const { name: key, label, least, most, step } = slider;
    const output = make("output", {});
    const input = make("input", { type: "range", min: least, max: most, step, "data-slider": key });
    return { key, input, output, row: make("label", {}, make("span", {}, label), input, output) };
  });
  const root = make("div", { class: "mqlab mqlab-plot", role: "group", "aria-labelledby": `${name}-title` });
  const sliders = make("div", { class: "mqlab-plot-sliders" }, ...inputs.map(({ row }) => row));
  root.append(title, picture, says, ...(inputs.length ? [sliders] : []));

  let busy = false; // Python is drawing
  let waits = false; // and the reader has moved on since
  const say = () => inputs.forEach(({ input, output }) => {
    output.textContent = told(input.value);
    input.setAttribute("aria-valuetext", output.textContent);
  });
  const ask = () => {
    say();
    if (busy) return void (waits = true);
    busy = true;
    waits = false;
    model.send({ set: Object.fromEntries(inputs.map(({ key, input }) => [key, Number(input.value)])) });
  };
  const draw = () => (picture.innerHTML = model.get("_svg")); // made by plot.py
  const tell = () => (says.textContent = model.get("_says"));
  const place = () => {
    if (busy) return; // the reader's hand goes first
    inputs.forEach(({ key, input }) => (input.value = model.get("_values")[key]));
    say();
  };
  const heard = (message) => {
    if (!message.done) return;
    busy = false;
    if (waits) ask();
  };
  inputs.forEach(({ input }) => input.addEventListener("input", ask));
  // A plain key means the slider, and not the cell.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Tab") event.stopPropagation();
  });
  model.on("change:_svg", draw);
  model.on("change:_says", tell);
  model.on("change:_values", place);
  model.on("msg:custom", heard);
  draw();
  tell();
  place();
  el.append(root);
  return () => {
    model.off("change:_svg", draw);
    model.off("change:_says", tell);
    model.off("change:_values", place);
    model.off("msg:custom", heard);
  };
}

export default { render };
