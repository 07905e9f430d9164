// What the screens share: one state, drawn by functions of it; addresses behind the #; what is said aloud.

import { html, nothing, render } from "./lit-html.js";
import { get, Problem } from "./api.js";
import { language, refusal, words } from "./words.js";

export { html, nothing, render };

export const state = {
  // The screen that is shown: {name, args, query, data, problem}; data is what its load gave, undefined until then.
  screen: undefined,
  // What came of the last action, {tone, text}, until the next screen.
  notice: undefined,
  // The notice of the next screen.
  then: undefined,
  // Whether an action is under way: its buttons wait.
  busy: false,
  // Whether the server asks for a key.
  locked: false,
  // Whose key this browser was given a session for: {name, role, id}; none where no key is needed.
  session: JSON.parse(localStorage.getItem("session") ?? "null"),
};

let screens, frame, elsewhere;
let drawing = false;

// update draws the state, once for all changes of a moment.
export function update() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => drawing && draw());
}

export function draw() {
  drawing = false;
  render(frame(), document.getElementById("app"));
  screens[state.screen.name]?.drawn?.();
  const title = screens[state.screen.name]?.title;
  document.title = title ? `${typeof title === "function" ? title(state.screen) : title} – ${words.library}` : words.library;
}

// A scanner types like a person, wherever the focus happens to be: what is typed outside a field goes to the screen's box, and
// where it has none, to whoever wants it.
function typed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const { tagName } = event.target;
  if (event.key.length !== 1 || /^(INPUT|TEXTAREA|SELECT)$/.test(tagName) || event.key === " " && /^(BUTTON|A|SUMMARY)$/.test(tagName)) return;
  const box = document.getElementById(screens[state.screen.name]?.box);
  if (box) box.focus(); // and the key is typed there
  else if (elsewhere && event.key !== " " && !state.locked) elsewhere();
}
addEventListener("keydown", typed);

// The second half of a double click is none: under the pointer there may be another line by then.
const doubleClick = 400, near = 8; // ms, pixels
let pressed, taken;
addEventListener("pointerdown", (event) => {
  const { timeStamp: at, clientX: x, clientY: y } = event;
  taken = !pressed || at - pressed.at > doubleClick || Math.hypot(x - pressed.x, y - pressed.y) > near;
  pressed = { at, x, y };
}, true);
for (const type of ["mousedown", "click"]) { // the first would take the focus from the box
  addEventListener(type, (event) => {
    if (event.detail === 0 || event.detail === 1 && taken || !event.target.closest?.("button, a, summary")) return; // 0: by the keyboard
    event.preventDefault();
    event.stopPropagation();
  }, true);
}

// What is wrong in a field is so until it is changed.
addEventListener("input", (event) => {
  if (state.notice?.tone === "no" && event.target.closest?.("main form")) tell();
});

// start shows the screens, each {title, load, view, drawn, box, instant}: load(screen) asks the API, view(screen) draws what it gave,
// or at once where it is instant, drawn does what comes after, and box is the id of the field that a key typed anywhere goes to.
// home is the screen without an address; typedElsewhere shows one with a box
// where a key is typed on a screen without.
export function start(list, home, view, typedElsewhere) {
  elsewhere = typedElsewhere;
  screens = list;
  frame = view;
  document.documentElement.lang = language;
  document.getElementById("app").replaceChildren(); // what says that the page does not come
  addEventListener("hashchange", () => open(home));
  open(home);
}

function open(home) {
  const address = location.hash.slice(1);
  if (state.screen?.address === address) return; // shown already
  show(address, home);
  reload().then(() => focus());
}

// show draws the screen of an address, such as member/17 or add-book?isbn=9780441478125.
export function show(address, home) {
  const [path, search] = address.split("?");
  const [name, ...args] = path.split("/");
  const screen = { address, name: name || home, args, query: new URLSearchParams(search), data: undefined, problem: undefined };
  if (screens[screen.name]?.instant) screen.data = {};
  state.screen = screen;
  state.notice = state.then;
  state.then = undefined;
  draw();
}

// reload asks for the screen's data again; what is shown stays until they are there.
export async function reload() {
  const screen = state.screen;
  try {
    const data = (await screens[screen.name]?.load?.(screen)) ?? {};
    if (screen !== state.screen) return;
    screen.data = data;
    screen.problem = undefined;
    state.locked = false;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (screen !== state.screen) return;
    if (problem.status === 401) state.locked = true;
    else screen.problem = problem;
    if (problem.code === "not_allowed") { // a reader's key: it takes another
      state.locked = true;
      tell("no", words.key.tooLittle);
    }
  }
  draw();
}

// focus goes to the screen's box or else to its heading, where a reader's voice begins.
export function focus() {
  const id = state.locked ? "key" : screens[state.screen.name]?.box;
  const to = document.getElementById(id) ?? document.querySelector("h1");
  to?.focus();
  performance.mark(to?.id ?? "heading"); // how long it took until somebody could begin
}

// content is the screen within a frame.
export function content() {
  const { screen } = state;
  const view = screens[screen.name]?.view;
  if (!view) return html`<h1 tabindex="-1">${words.gone}</h1>`;
  if (screen.data) return view(screen);
  if (screen.problem) {
    return html`<h1 tabindex="-1">${words.failed}</h1>
      <p>${refusal(screen.problem)}</p>
      <button type="button" @click=${reload}>${words.again}</button>`;
  }
  return html`<p class="quiet">${words.loading}</p>`;
}

// act does what a button asks for. Where there is something to be said of it, it is, and the screen is read anew.
export async function act(action, said) {
  if (state.busy) return;
  state.busy = true;
  state.notice = undefined;
  update();
  try {
    const answer = await action();
    if (said !== undefined) {
      tell("done", typeof said === "function" ? said(answer) : said);
      await reload();
    }
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) state.locked = true;
    else tell("no", refusal(problem));
  } finally {
    state.busy = false;
    update();
  }
}

export function tell(tone, text) {
  state.notice = text ? { tone, text } : undefined;
  if (text) say(`${words.tone[tone]}: ${text}`);
  update();
}

// tellThen tells it on the screen to which one goes now.
export function tellThen(tone, text) {
  state.then = { tone, text };
  say(`${words.tone[tone]}: ${text}`);
}

export const noticeOf = ({ tone, text }) => html`<p class="notice ${tone}"><b>${words.tone[tone]}:</b> ${text}</p>`;
export const notice = () => (state.notice ? noticeOf(state.notice) : nothing);

// submitted does what a form asks for, and puts the form away once it is done: another press does nothing.
export function submitted(form, action, said) {
  return act(async () => {
    const answer = await action();
    form.reset();
    fold(form.closest("details"));
    return answer;
  }, said);
}

function fold(details) {
  if (!details) return;
  details.open = false;
  details.querySelector("summary").focus();
}

// folded is a form that one opens; its first field has the focus then.
export const folded = (title, form, kind = "") => html`
  <details class=${kind} @toggle=${(e) => e.target.open && e.target.querySelector("input")?.focus()}><summary>${title}</summary>${form}</details>`;

// asked is a button that asks once more, by its second name.
export const asked = (label, sure, action) => html`
  <details><summary>${label}</summary>${button(sure, (e) => {
    fold(e.target.closest("details"));
    action();
  }, "danger")}</details>`;

// say has a screen reader say a line.
export function say(text) {
  const log = document.getElementById("said");
  log.append(Object.assign(document.createElement("p"), { textContent: text }));
  while (log.childElementCount > 10) log.firstElementChild.remove();
}

// keyed keeps each item's element, so that a button that has the focus stays what it was while lines come before it.
export function keyed(list, items, template) {
  if (!list) return;
  const have = new Map([...list.children].map((e) => [e.dataset.id, e]));
  let place = list.firstElementChild;
  for (const item of items) {
    const id = String(item.id);
    const e = have.get(id) ?? Object.assign(document.createElement("li"));
    e.dataset.id = id;
    have.delete(id);
    render(template(item), e);
    if (e === place) place = place.nextElementSibling;
    else list.insertBefore(e, place);
  }
  for (const e of have.values()) e.remove();
}

// more adds the next page to a list {items, next}.
export async function more(list) {
  const page = await get(list.next);
  list.items.push(...page.data);
  list.next = page.next;
}

export const moreButton = (list, label) =>
  list.next ? html`<p><button type="button" ?disabled=${state.busy} @click=${() => act(() => more(list))}>${label}</button></p>` : nothing;

export const button = (label, action, kind = "") =>
  html`<button type="button" class=${kind} ?disabled=${state.busy} @click=${action}>${label}</button>`;

// enterGoesOn keeps a scanner's Enter from sending a form: it goes on to the next field. It hears of keydown and of keypress.
export function enterGoesOn(event) {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault();
  if (event.type !== "keydown") return;
  const fields = [...event.currentTarget.querySelectorAll("input, textarea, select, button")];
  const next = fields[fields.indexOf(event.target) + 1];
  next?.focus();
  next?.select?.(); // what is scanned next takes its place
}

// printed is what goes to paper instead of the screen, while it is being printed.
export function printOnly(template) {
  let sheet = document.getElementById("sheet");
  if (!sheet) {
    sheet = document.createElement("div");
    sheet.id = "sheet";
    document.body.append(sheet);
    addEventListener("afterprint", () => {
      document.body.classList.remove("slip");
      sheet.remove();
    }, { once: true });
  }
  render(template, sheet);
  document.body.classList.add("slip");
  print();
}
