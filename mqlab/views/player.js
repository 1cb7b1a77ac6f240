// The player in the page: keeps pictures, shows one moment of a trace, moves what has changed, speaks with Python.

const MOVE = 350; // ms that a move takes
const STEP = 900; // ms from moment to moment while playing
const CATCH_UP = 200; // ms in which those who look at the newest moment are shown what is new
const FEW = 12; // so many new moments are shown one by one; of more only the newest is
const SAY = 2500; // ms between two announcements while playing
const TELL = 60; // ms between two messages about where we are
const KNOCK = 100; // ms between two messages that only ask who answers
const KNOCKS = 100;
const KEPT = 512; // pictures
const BEHIND = 8; // pictures fetched round the moment shown
const AHEAD = 24;
const LINGER = 250; // ms for which the pointer rests on a message before its story is told
const SETTLED = 400; // ms without news, after which pictures of earlier moments are fetched
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const SPEED_NAMES = ["¼×", "½×", "1×", "2×", "4×"];

const ICONS = {
  first: "M5 5h2v14H5zM19 5v14L8.5 12z",
  back: "M17 5v14L6.500 12z",
  play: "M7 4.500v15L19.500 12z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  step: "M7 5v14l7.500-7zM16 5h2.500v14H16z",
  last: "M17 5h2v14h-2zM5 5v14l10.500-7z",
};

const parser = new DOMParser();
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const clamp = (n, low, high) => Math.min(high, Math.max(low, n));

// ---------------------------------------------------------------------------------------------- one picture, in motion

/** Shows one picture after the other; elements with the same key move from place to place. Idle, it runs no loop. */
class Stage {
  constructor(host) {
    this.host = host;
    this.svg = null;
    this.items = new Map(); // key -> { el, source, x, y, o, ... }
    this.moving = new Set();
    this.frame = 0;
    this.tick = this.tick.bind(this);
  }

  draw(markup, ms, backwards) {
    const picture = parser.parseFromString(markup, "image/svg+xml").documentElement;
    if (picture.nodeName !== "svg") throw new Error("The picture is not an SVG.");
    const focused = this.svg?.contains(document.activeElement) ? document.activeElement.dataset.click : undefined;
    if (!this.svg) {
      this.svg = this.host.appendChild(document.importNode(picture, false));
      ms = 0;
    }
    setAttributes(this.svg, picture);
    // What is inside an image is no button to assistive technology: with buttons the picture is a group.
    this.svg.setAttribute("role", picture.querySelector("[data-click], [data-key]") ? "group" : "img");

    const gone = new Set(this.items.keys());
    const now = performance.now();
    let scenery = 0;
    const used = new Set();
    let cursor = this.svg.firstElementChild;
    for (const child of picture.children) {
      const keyed = child.hasAttribute("data-key");
      // What can be clicked stays the same element, and so the focus, and a click that has begun, stay with it.
      const { click } = child.dataset;
      let key = keyed ? child.dataset.key : click ? `click ${click}` : `${child.tagName} ${scenery++}`;
      while (used.has(key)) key += "+";
      used.add(key);
      const place = takePlace(child);
      const from = takePoint(child, "data-from");
      const to = takePoint(child, "data-to");
      gone.delete(key);
      let item = this.items.get(key);
      if (item && item.el.tagName !== child.tagName) {
        this.remove(key, item);
        item = undefined;
      }
      const fresh = !item;
      if (fresh) {
        item = { el: document.importNode(child, true), x: 0, y: 0, o: 1 };
        const start = (backwards ? to : from) ?? place;
        if (place) [item.x, item.y] = start;
        if (keyed && ms) item.o = 0;
        this.items.set(key, item);
      } else if (!item.source.isEqualNode(child)) {
        setAttributes(item.el, child, ["transform", "opacity", "tabindex", "role", "aria-label"]);
        item.el.replaceChildren(...document.importNode(child, true).childNodes);
      }
      Object.assign(item, { source: child, keyed, from, to, placed: Boolean(place), leaving: false });
      item.el.style.pointerEvents = "";
      this.send(item, place ?? [item.x, item.y], 1, now, ms, fresh);
      while (cursor && gone.has(cursor.mqKey)) cursor = cursor.nextElementSibling;
      item.el.mqKey = key;
      if (item.el === cursor) cursor = cursor.nextElementSibling;
      else this.svg.insertBefore(item.el, cursor);
    }
    for (const key of gone) {
      const item = this.items.get(key);
      if (!item.keyed || !ms) {
        this.remove(key, item);
      } else if (!item.leaving) {
        item.leaving = true;
        item.el.style.pointerEvents = "none";
        this.send(item, (backwards ? item.from : item.to) ?? [item.x, item.y], 0, now, ms, false);
      }
    }
    if (focused !== undefined && !this.svg.contains(document.activeElement)) {
      // A button that has become its opposite (slow, fast) has the same verb.
      const alike = [focused, focused.replace(/:.*/, ":")].map(CSS.escape);
      const next = this.svg.querySelector(`[data-click="${alike[0]}"]`) ?? this.svg.querySelector(`[data-click^="${alike[1]}"]`);
      next?.focus({ preventScroll: true });
    }
    if (this.moving.size && !this.frame) this.frame = requestAnimationFrame(this.tick);
  }

  /** Send an item on its way, from where it is now. */
  send(item, [x, y], o, now, ms, fresh) {
    const there = item.x === x && item.y === y && item.o === o;
    if (there && !fresh && !this.moving.has(item)) return;
    if (!ms || there) {
      Object.assign(item, { x, y, o });
      this.moving.delete(item);
      this.place(item);
      return;
    }
    Object.assign(item, { x0: item.x, y0: item.y, o0: item.o, x1: x, y1: y, o1: o, began: now, ms });
    this.moving.add(item);
    if (fresh) this.place(item);
  }

  place(item) {
    if (item.placed) item.el.setAttribute("transform", `translate(${item.x.toFixed(1)},${item.y.toFixed(1)})`);
    if (item.o < 1) item.el.setAttribute("opacity", item.o.toFixed(2));
    else if (item.el.hasAttribute("opacity")) item.el.removeAttribute("opacity");
  }

  tick(now) {
    for (const item of this.moving) {
      const part = clamp((now - item.began) / item.ms, 0, 1);
      const eased = part * part * (3 - 2 * part);
      item.x = part === 1 ? item.x1 : item.x0 + (item.x1 - item.x0) * eased;
      item.y = part === 1 ? item.y1 : item.y0 + (item.y1 - item.y0) * eased;
      item.o = part === 1 ? item.o1 : item.o0 + (item.o1 - item.o0) * eased;
      if (part === 1) {
        this.moving.delete(item);
        if (item.leaving) {
          this.remove(item.el.mqKey, item);
          continue;
        }
      }
      this.place(item);
    }
    this.frame = this.moving.size ? requestAnimationFrame(this.tick) : 0;
  }

  remove(key, item) {
    item.el.remove();
    this.moving.delete(item);
    this.items.delete(key);
  }

  end() {
    cancelAnimationFrame(this.frame);
  }
}

function setAttributes(el, like, except = []) {
  for (const { name } of [...el.attributes]) {
    if (!like.hasAttribute(name) && name !== "style" && !except.includes(name)) el.removeAttribute(name);
  }
  for (const { name, value } of like.attributes) {
    if (name !== "xmlns" && el.getAttribute(name) !== value) el.setAttribute(name, value);
  }
}

/** Take the translation off an element and return it as [x, y]; any other transform stays where it is. */
function takePlace(el) {
  const found = /^\s*translate\(\s*([-\d.e]+)(?:[\s,]+([-\d.e]+))?\s*\)\s*$/.exec(el.getAttribute("transform") ?? "");
  if (!found) return null;
  el.removeAttribute("transform");
  return [Number(found[1]), Number(found[2] ?? 0)];
}

function takePoint(el, name) {
  const point = el.getAttribute(name)?.split(",").map(Number);
  el.removeAttribute(name);
  return point?.length === 2 && point.every(Number.isFinite) ? point : null;
}

// ------------------------------------------------------------------------------ what all views of one player have in common

/** The pictures that are here, the moment shown, and whether it plays. */
class Store {
  constructor(model) {
    const start = model.get("_start");
    this.title = model.get("_title");
    this.length = start.length;
    this.first = start.first;
    this.jumps = model.get("_jumps");
    this.story = null;
    this.at = start.at;
    this.live = start.at === start.length;
    this.pictures = new Map([[start.at, start.picture]]);
    this.playing = false;
    this.speed = 1;
    this.problem = "";
    this.asking = false;
    this.awake = false;
    this.knocks = 0;
    this.views = new Set();
    this.wire = model.widget_manager.get_model(model.get("_wire")).catch(() => null); // no kernel: a picture is left
    this.wire.then((wire) => wire?.on("msg:custom", ({ main }) => this.wake(main)));
    model.on("msg:custom", (message) => this.hear(message));
  }

  /** Knock until JupyterLab's thread for widgets answers: it comes late, and some pages have none. See Wire in player.py. */
  wake(main) {
    if (!main && !this.awake) {
      this.awake = true;
      this.changed();
    }
    if (this.awake || this.waking || this.knocks++ >= KNOCKS) return;
    this.waking = setTimeout(() => {
      this.waking = 0;
      this.tell({ type: "knock" });
    }, KNOCK);
  }

  tell(message) {
    this.wire.then((wire) => wire?.send(message));
  }

  tellAt() {
    if (this.telling) return;
    this.telling = setTimeout(() => {
      this.telling = 0;
      this.tell({ type: "at", at: this.at, live: this.live });
    }, TELL);
  }

  hear(message) {
    if (message.type === "pictures") {
      this.length = Math.max(this.length, message.length);
      this.pace = CATCH_UP / Math.max(1, this.length - this.at);
      this.first = message.oldest;
      this.at = Math.max(this.at, this.first);
      message.pictures.forEach((picture, n) => this.pictures.set(message.first + n, picture));
      if (message.asked) this.asking = false;
      this.follow();
      this.forget();
      // While it grows, what has been is not asked for: it would cost what the new pictures need.
      clearTimeout(this.wanting);
      if (message.asked || !this.live) this.want();
      else this.wanting = setTimeout(() => this.want(), SETTLED);
    } else if (message.type === "redraw") {
      this.pictures.clear();
      this.pictures.set(message.at, message.pictures[0]);
      this.want();
    } else if (message.type === "story") {
      if (message.message === this.asked) this.story = message;
    } else if (message.type === "file") {
      save(message);
      return;
    } else if (message.type === "go") {
      this.pause();
      this.goTo(message.at);
      return;
    } else if (message.type === "problem") {
      this.problem = message.text;
      this.asking = false;
    }
    this.changed();
  }

  /** Whoever looks at the newest moment goes on doing so: a few new ones pass one by one, all of them in CATCH_UP. */
  follow() {
    clearTimeout(this.following);
    const behind = this.length - this.at;
    if (!this.live || !behind) return;
    let few = behind <= FEW && !calm.matches;
    for (let k = this.at + 1; few && k <= this.length; k++) few = this.pictures.has(k);
    const onward = (moment) => {
      this.at = moment;
      this.arrived = performance.now();
      this.changed();
      this.follow();
    };
    if (!few) onward(this.length);
    else {
      const wait = this.pace - (performance.now() - (this.arrived ?? 0));
      this.following = setTimeout(onward, Math.max(0, wait), this.at + 1);
    }
  }

  /** Keep no more than KEPT pictures: the ones nearest to the moment shown. */
  forget() {
    while (this.pictures.size > KEPT) {
      let farthest = this.at;
      for (const k of this.pictures.keys()) if (Math.abs(k - this.at) > Math.abs(farthest - this.at)) farthest = k;
      this.pictures.delete(farthest);
    }
  }

  /** Ask Python for pictures that are missing round the moment shown; one question at a time. */
  want() {
    if (this.asking) return;
    const missing = [];
    const last = Math.min(this.length, this.at + AHEAD);
    for (let k = Math.max(this.first, this.at - BEHIND); k <= last; k++) if (!this.pictures.has(k)) missing.push(k);
    if (!missing.length) return;
    this.asking = true;
    this.tell({ type: "frames", first: missing[0], count: missing.at(-1) - missing[0] + 1 });
  }

  goTo(moment) {
    this.at = clamp(moment, this.first, this.length);
    this.live = this.at === this.length;
    this.problem = "";
    clearTimeout(this.following);
    this.tellAt();
    this.want();
    this.changed();
  }

  /** Go where the reader wants to be. */
  steer(moment) {
    this.pause();
    this.goTo(moment);
  }

  /** Look for the next event of a kind, or for the one before. */
  find(jump, back) {
    this.pause();
    this.problem = "";
    this.tell({ type: "find", jump, after: this.at, back });
  }

  /** Ask for the story of a message; null ends it. */
  tellStory(id) {
    if (id === this.asked && this.story?.length === this.length) return;
    this.asked = id;
    if (id === null) this.story = null;
    else this.tell({ type: "story", message: id });
    this.changed();
  }

  click({ click, stay }) {
    if (!this.live && stay === undefined) this.steer(this.length); // what it does happens now, so look at now
    this.tell({ type: "click", action: click });
  }

  toggle() {
    if (this.playing) {
      this.pause();
      this.changed();
      return;
    }
    this.playing = true;
    if (this.at < this.length) {
      this.next();
    } else {
      this.goTo(this.first);
      this.later(STEP / this.speed);
    }
  }

  next() {
    if (this.at >= this.length) {
      this.pause();
      this.changed();
    } else if (this.pictures.has(this.at + 1)) {
      this.goTo(this.at + 1);
      this.later(STEP / this.speed);
    } else {
      this.want();
      this.later(TELL);
    }
  }

  later(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.next(), ms);
  }

  pause() {
    clearTimeout(this.timer);
    this.playing = false;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.changed();
  }

  changed() {
    for (const view of this.views) view.show();
  }

  add(view) {
    this.views.add(view);
    if (this.views.size === 1) this.tell({ type: "hello" });
    this.want();
  }

  remove(view) {
    this.views.delete(view);
    if (this.views.size) return;
    this.pause();
    this.tell({ type: "bye" });
  }
}

/** Hand a file to the reader's downloads. */
function save({ name, kind, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// ------------------------------------------------------------------------------------------------ what the reader sees

let count = 0;

/** One view: the picture, a caption and the toolbar. */
class View {
  constructor(store, host) {
    this.store = store;
    this.shown = null; // the picture on the stage
    this.shownAt = store.at;
    this.drawn = 0;
    this.said = 0;
    const id = `mqlab-${Date.now()}-${count++}`;
    const button = (name, icon, label, key) =>
      `<button type="button" data-do="${name}" aria-label="${label}" aria-keyshortcuts="${key}"
        title="${label} (${key})"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[icon]}"/></svg></button>`;
    this.root = document.createElement("div");
    this.root.className = "mqlab mqlab-player";
    this.root.tabIndex = -1;
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-labelledby", id);
    this.root.innerHTML = `
      <div class="mqlab-title" id="${id}"></div>
      <div class="mqlab-stage"></div>
      <div class="mqlab-story" role="status" hidden></div>
      <p class="mqlab-caption"></p>
      <p class="mqlab-problem" role="alert"></p>
      <input class="mqlab-slider" type="range" min="0" step="1" aria-label="Moment" title="Moment (arrow keys)">
      <div class="mqlab-bar" role="group" aria-label="Steer the picture">
        ${button("first", "first", "To the start", "Home")}
        ${button("back", "back", "Step back", "ArrowLeft")}
        ${button("play", "play", "Play", "Space")}
        ${button("step", "step", "Step", "ArrowRight")}
        ${button("last", "last", "To the end", "End")}
        <span class="mqlab-where"></span>
        <span class="mqlab-jump">
          <button type="button" data-do="before" aria-label="To the one before" aria-keyshortcuts="P" title="To the one before (P)">‹</button>
          <select data-jump aria-label="Kind of event" title="Kind of event to look for"></select>
          <button type="button" data-do="next" aria-label="To the next one" aria-keyshortcuts="N" title="To the next one (N)">›</button>
        </span>
        <select data-save aria-label="Save" title="Save the picture or the trace">
          <option value="">Save …</option>
          <option value="svg">This picture (SVG)</option>
          <option value="png">This picture (PNG)</option>
          <option value="film">The film up to here (SVG)</option>
          <option value="trace">The trace (JSON lines)</option>
        </select>
        <label class="mqlab-speed">Speed <select aria-label="Speed" title="Speed (+ and -)">
          ${SPEEDS.map((speed, n) => `<option value="${speed}">${SPEED_NAMES[n]}</option>`).join("")}
        </select></label>
      </div>
      <div class="mqlab-live" aria-live="polite"></div>`;
    const find = (selector) => this.root.querySelector(selector);
    this.caption = find(".mqlab-caption");
    this.problem = find(".mqlab-problem");
    this.slider = find("input");
    this.speed = find(".mqlab-speed select");
    this.jump = find("[data-jump]");
    this.jump.append(...store.jumps.map((jump) => new Option(jump, jump)));
    this.saver = find("[data-save]");
    this.story = find(".mqlab-story");
    this.where = find(".mqlab-where");
    this.live = find(".mqlab-live");
    this.buttons = Object.fromEntries([...this.root.querySelectorAll("button")].map((el) => [el.dataset.do, el]));
    find(".mqlab-title").textContent = store.title;
    this.stage = new Stage(find(".mqlab-stage"));
    this.actions = {
      first: () => store.steer(0),
      back: () => store.steer(store.at - 1),
      play: () => store.toggle(),
      step: () => store.steer(store.at + 1),
      last: () => store.steer(store.length),
      next: () => store.find(this.jump.value, false),
      before: () => store.find(this.jump.value, true),
    };

    this.root.addEventListener("click", (event) => this.onClick(event));
    this.slider.addEventListener("input", () => store.steer(Number(this.slider.value)));
    this.speed.addEventListener("change", () => store.setSpeed(Number(this.speed.value)));
    this.saver.addEventListener("change", () => {
      if (this.saver.value) store.tell({ type: "save", what: this.saver.value, at: store.at });
      this.saver.value = "";
    });
    const stage = find(".mqlab-stage");
    stage.addEventListener("pointerover", (event) => this.rest(event.target));
    stage.addEventListener("pointerleave", () => this.rest(null));
    stage.addEventListener("focusout", (event) => this.rest(event.relatedTarget));
    // On the window and in the capturing phase, to be there before the shortcuts of JupyterLab.
    this.onKey = this.onKey.bind(this);
    window.addEventListener("keydown", this.onKey, true);
    host.append(this.root);
    store.add(this);
    this.show();
  }

  show() {
    const { at, length, pictures, playing, speed, problem } = this.store;
    const picture = pictures.get(at);
    if (picture && picture !== this.shown) {
      const now = performance.now();
      // When pictures come fast a move takes no longer than the time between two of them.
      const ms = calm.matches ? 0 : playing ? Math.min(MOVE, STEP) / speed : clamp(now - this.drawn, TELL, MOVE);
      this.stage.draw(picture.svg, ms, at < this.shownAt);
      Object.assign(this, { shown: picture, shownAt: at, drawn: now });
      this.caption.textContent = picture.says;
    }
    this.root.setAttribute("aria-busy", String(!picture));
    this.root.dataset.awake = this.store.awake; // clicks reach Python at once, even while a cell is running
    const time = picture ? `${picture.t.toFixed(2)} s` : "…";
    this.where.textContent = `${at} / ${length} · ${time}`;
    this.slider.min = this.store.first;
    this.slider.max = length;
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `event ${at} of ${length}, ${time}${picture ? `: ${picture.says}` : ""}`);
    this.speed.value = String(speed);
    this.problem.textContent = problem;
    // Not `disabled`: that would take the focus, and with it the keyboard, away from the reader.
    const [begins, ends] = [at === this.store.first, at === length];
    const off = { first: begins, back: begins, play: length === 0, step: ends, last: ends, before: begins, next: ends };
    for (const [name, is] of Object.entries(off)) this.buttons[name].setAttribute("aria-disabled", String(is));
    this.buttons.play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.buttons.play.title = playing ? "Pause (Space)" : "Play (Space)";
    this.buttons.play.querySelector("path").setAttribute("d", playing ? ICONS.pause : ICONS.play);
    this.announce(picture?.says);
    this.tellStory(at);
  }

  /** The pointer rests on a message, or has left it: its story is told, or no more. */
  rest(target) {
    clearTimeout(this.resting);
    const id = messageOf(target);
    if (id !== null) this.pointed = target.closest("[data-key]");
    this.resting = setTimeout(() => this.store.tellStory(id), LINGER);
  }

  tellStory(at) {
    const story = this.store.story;
    if (story === this.told && at === this.toldAt) return;
    Object.assign(this, { told: story, toldAt: at });
    this.story.hidden = !story;
    this.story.replaceChildren();
    if (!story) return;
    const list = this.story.appendChild(document.createElement("ol"));
    for (const [moment, t, line, seen] of story.lines) {
      const item = list.appendChild(document.createElement("li"));
      item.className = moment > at ? "mqlab-later" : "";
      item.textContent = `${t.toFixed(3)} s  ${line}`;
      const how = item.appendChild(document.createElement("small"));
      how.textContent = seen;
    }
    const item = this.pointed?.isConnected ? this.pointed : this.stage.svg;
    const [here, frame] = [item.getBoundingClientRect(), this.root.getBoundingClientRect()];
    const width = this.story.offsetWidth;
    this.story.style.left = `${clamp(here.left - frame.left, 8, Math.max(8, frame.width - width - 8))}px`;
    this.story.style.top = `${here.bottom - frame.top + 8}px`;
  }

  /** Go from message to message: they are no stops of the Tab key, for there may be many. */
  walk(by) {
    const tokens = [...this.stage.svg.querySelectorAll(MESSAGES)];
    if (!tokens.length) return;
    const now = tokens.indexOf(document.activeElement);
    const next = tokens[(now + by + tokens.length + (now < 0 && by < 0 ? 1 : 0)) % tokens.length];
    next.setAttribute("tabindex", "-1");
    next.setAttribute("role", "img");
    next.setAttribute("aria-label", next.querySelector("title")?.textContent ?? "message");
    next.focus({ preventScroll: true });
    this.pointed = next;
    this.store.tellStory(messageOf(next));
  }

  /** Say the caption to those who cannot see it; while it plays, not each time. */
  announce(sentence) {
    const now = performance.now();
    if (!sentence || sentence === this.live.textContent) return;
    if (this.store.playing && now - this.said < SAY) return;
    this.said = now;
    this.live.textContent = sentence;
  }

  onClick(event) {
    const mark = event.target.closest("[data-click]");
    const button = event.target.closest("[data-do]");
    if (mark) this.store.click(mark.dataset);
    else if (button) this.actions[button.dataset.do]();
    else if (!event.target.closest("input, select, label")) this.root.focus({ preventScroll: true });
  }

  onKey(event) {
    const { key, target } = event;
    if (!this.root.contains(target) || event.ctrlKey || event.metaKey || event.altKey || key === "Tab") return;
    event.stopPropagation(); // a plain key means this view, and not the cell
    if (target.closest("select")) return;
    if (key === "Escape" && this.store.story) {
      event.preventDefault();
      this.store.tellStory(null);
      return;
    }
    const native = target.closest("button") && (key === " " || key === "Enter");
    if (native) return;
    const mark = target.closest("[data-click]");
    const faster = (by) => {
      const n = SPEEDS.indexOf(this.store.speed) + by;
      if (SPEEDS[n]) this.store.setSpeed(SPEEDS[n]);
    };
    const { first, back, play, step, last, next, before } = this.actions;
    const press = mark ? () => event.repeat || this.store.click(mark.dataset) : null;
    const action = {
      " ": press ?? play,
      Enter: press,
      ArrowLeft: back,
      ArrowRight: step,
      ArrowDown: target === this.slider ? null : () => this.walk(1),
      ArrowUp: target === this.slider ? null : () => this.walk(-1),
      n: next,
      p: before,
      Home: first,
      End: last,
      "+": () => faster(1),
      "=": () => faster(1),
      "-": () => faster(-1),
    }[key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  end() {
    window.removeEventListener("keydown", this.onKey, true);
    this.stage.end();
    this.store.remove(this);
    this.root.remove();
  }
}

const MESSAGES = ':scope > [data-key^="m:"], :scope > [data-key^="b:"]'; // tokens, and the bars of a timeline

/** The message that an element of the picture belongs to, or null. */
function messageOf(target) {
  const key = target?.closest?.('[data-key^="m:"], [data-key^="b:"]')?.dataset.key;
  if (key === undefined) return null;
  return key.startsWith("m:") ? key.slice(2) : key.slice(2, key.lastIndexOf(":"));
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
    },
    render({ el }) {
      const view = new View(store, el);
      return () => view.end();
    },
  };
};
