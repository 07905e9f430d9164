// The holds shelf: what waits to be picked up, what goes back, and who waits for what.

import { get, write } from "./api.js";
import { printHold } from "./desk-screen.js";
import { act, asked, button, html, moreButton, nothing } from "./ui.js";
import { words } from "./words.js";

const text = words.holds;

// The lists: status, heading, what is said where there is none, what is said below it, and how many at once.
const kinds = [
  ["ready", text.ready, text.noReady, text.putBack, 100],
  ["expired", text.expired, text.noExpired, text.takeOff, 20],
  ["waiting", text.waiting, text.noWaiting, text.how, 100],
];

const nameOf = (h) => h.user.name ?? words.desk.someone;

// What is said of a hold: until when a copy is or was set aside, and for whom it is now, or since when somebody waits.
function days(h, data) {
  if (h.status === "waiting") return text.since(h.placed_on);
  if (h.status === "ready") return text.until(h.ready_until);
  const next = data.ready.items.find((r) => r.book.id === h.book.id);
  return next ? html`${text.until(h.ready_until)}. ${text.nowFor(nameOf(next))}` : text.until(h.ready_until);
}

export const holdsScreen = {
  title: text.title,
  async load() {
    const pages = await Promise.all(kinds.map(([status, , , , limit]) => get(`holds/?status=${status}&limit=${limit}`)));
    const lists = Object.fromEntries(kinds.map(([status], i) => [status, { items: pages[i].data, next: pages[i].next }]));
    // Nobody says that a book was taken off the shelf. After two weeks it will have been.
    const lately = new Date(Date.now() - 14 * 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
    if (lists.expired.items.some((h) => h.ready_until < lately)) {
      lists.expired = { items: lists.expired.items.filter((h) => h.ready_until >= lately) };
    }
    return lists;
  },
  view: ({ data }) => html`
    <div class="head"><h1 tabindex="-1">${text.title}</h1><span class="noprint">${button(text.print, () => print())}</span></div>
    ${kinds.map(([status, title, none, hint]) => html`
      <h2>${title}</h2>
      ${data[status].items.length ? nothing : html`<p class="quiet">${none}</p>`}
      <ul class="rows">${data[status].items.map((h) => html`<li>
        <span class="what"><a href="#book/${h.book.id}">${h.book.title}</a>
          <span class="quiet"><a href="#member/${h.user.id}">${nameOf(h)}</a> ${days(h, data)}</span></span>
        ${status === "expired" ? nothing : html`<span class="buttons noprint">
          ${status === "ready" ? button(words.desk.printHold, () => printHold({ title: h.book.title, name: nameOf(h), until: h.ready_until })) : nothing}
          ${asked(text.cancel, words.member.cancelSure(nameOf(h)), () => act(() => write("DELETE", `books/${h.book.id}/holds/${h.user.id}`), text.cancelled))}
        </span>`}</li>`)}</ul>
      ${moreButton(data[status], text.more)}
      ${status === "expired" && !data.expired.items.length ? nothing : html`<p class="quiet noprint">${hint}</p>`}`)}`,
};
