// The desk itself: one box, who is open, and what happened.

import { get } from "./api.js";
import { answer, clear, close, desk, dropAll, scan, sendAll, work } from "./queue.js";
import { sound, toggleSound } from "./sound.js";
import { button, html, keyed, nothing, printOnly, state, update } from "./ui.js";
import { date, words } from "./words.js";

const text = words.desk;

export const deskScreen = {
  title: text.title,
  box: "box",
  instant: true,
  async load() {
    work(); // what waited when the page was left
    await get("users/?limit=1"); // whether this browser may lend at all
  },
  view: () => html`
    <h1 class="unseen" tabindex="-1">${text.title}</h1>
    ${member()}
    <label class="scan">${text.box}
      <input id="box" autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="send" aria-describedby="hint" @keydown=${boxKey}>
    </label>
    <p id="hint" class="quiet">${text.hint}</p>
    ${queue()}
    <div class="head"><h2>${text.lines}</h2>
      <span class="buttons">${button(sound.on ? text.turnOff : text.turnOn, () => { toggleSound(); update(); toBox().focus(); }, "small")}
        ${desk.lines.length ? button(text.clear, () => { clear(); toBox().focus(); }, "small") : nothing}</span></div>
    ${desk.lines.length ? nothing : html`<p class="quiet">${text.noLines}</p>`}
    <ol id="lines" class="lines"></ol>`,
  drawn: () => keyed(document.getElementById("lines"), desk.lines, line),
};

// A scan ends with Enter. The box is empty again before anybody is asked.
function boxKey(event) {
  const { target } = event;
  if (event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    const code = target.value.trim();
    target.value = "";
    if (code) scan(code);
  } else if (event.key === "Escape") {
    if (target.value === "") close();
    target.value = "";
  } else if (event.key === "ArrowDown" && target.value === "") {
    event.preventDefault();
    choices()[0]?.focus();
  }
}

const choices = () => [...document.querySelectorAll("#lines button, #lines a")];

// In the lines, the arrows go from choice to choice.
export function choiceKey(event) {
  const all = choices(), at = all.indexOf(event.target);
  if (at < 0) return;
  const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  (all[to] ?? toBox()).focus();
}

export const toBox = () => document.getElementById("box");

function member() {
  const m = desk.member;
  if (!m) return html`<section class="member card nobody"><p class="name">${text.nobody}</p><p>${text.nobodyHint}</p></section>`;
  return html`
    <section class="member card" aria-label=${text.member}>
      <p class="name">${m.name} <span class="quiet">${m.card ?? ""}</span></p>
      ${m.blocked ? html`<p class="alarm">${text.blocked(m.reason)}</p>` : html`<p class="now">${text.nowLent(m.name)}</p>`}
      <ul class="facts">
        <li>${text.onLoan(m.onLoan)}</li>
        ${m.overdue ? html`<li class="alarm">${text.overdue(m.overdue)}</li>` : nothing}
        ${m.balance ? html`<li class="alarm">${text.owes(m.balance)}</li>` : nothing}
        ${m.pickUp?.length ? html`<li class="good">${text.ready(m.pickUp)}</li>` : nothing}
      </ul>
      <p class="buttons">
        ${button(text.done, () => { close(); toBox()?.focus(); }, "first")}
        <a class="button" href="#member/${m.id}">${text.account}</a>
        ${desk.visit.length ? button(text.slip, printVisit) : nothing}
        ${desk.closesIn ? html`<span class="alarm">${text.closes(desk.closesIn)}</span>` : nothing}
      </p>
    </section>`;
}

function queue() {
  const n = desk.queue.length;
  if (n === 0) return nothing;
  if (desk.stopped === "owner") {
    return html`<div class="notice look"><p>${text.otherKey(n)}</p>
      <p class="buttons">${button(text.sendAll, sendAll)} ${button(text.dropAll, dropAll)}</p></div>`;
  }
  if (state.locked) return nothing; // the form for it says so
  if (desk.stopped) return html`<p class="notice no"><b>${words.tone.no}:</b> ${text[desk.stopped](n)}</p>`;
  return html`<p class="quiet waiting">${text.waiting(n)}</p>`;
}

const line = (l) => html`
  <div class="line ${l.tone}">
    <span class="tag ${l.tone}">${words.tone[l.tone]}</span>
    <span class="what"><b>${l.title}</b> <span>${l.text}</span></span>
    ${l.buttons.length ? html`<span class="buttons">${l.buttons.map((b) =>
      b.go ? html`<a class="button" href=${b.go}>${b.label}</a>`
      : b.slip ? html`<button type="button" @click=${() => { printHold(b.slip); toBox()?.focus(); }}>${b.label}</button>`
      : html`<button type="button" @click=${() => { answer(l, b); toBox()?.focus(); }}>${b.label}</button>`)}</span>` : nothing}
  </div>`;

const printVisit = () => printOnly(html`
  <h1>${words.slip.loans(desk.member.name)}</h1>
  <ul>${desk.visit.map((v) => html`<li><b>${v.title}</b><br>${words.slip.due(v.due)}</li>`)}</ul>
  <p>${date(new Date().toISOString().slice(0, 10))}</p>`);

export const printHold = ({ title, name, until }) => printOnly(html`
  <h1>${words.slip.hold}</h1>
  <p class="large">${words.slip.holdFor(name)}</p>
  <p><b>${title}</b></p>
  <p>${words.slip.holdUntil(until)}</p>`);
