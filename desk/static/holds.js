// The holds shelf: what waits to be picked up, what goes back, and who waits for what.

import { get, write } from "./api.js";
import { printHold } from "./desk-screen.js";
import { act, asked, button, html, moreButton, nothing } from "./ui.js";
import { words } from "./words.js";

const text = words.holds;

const kinds = [["ready", text.ready, text.noReady], ["waiting", text.waiting, text.noWaiting]];

export const holdsScreen = {
  title: text.title,
  async load() {
    const pages = await Promise.all(kinds.map(([status]) => get(`holds/?status=${status}&limit=100`)));
    return Object.fromEntries(kinds.map(([status], i) => [status, { items: pages[i].data, next: pages[i].next }]));
  },
  view: ({ data }) => html`
    <div class="head"><h1 tabindex="-1">${text.title}</h1><span class="noprint">${button(text.print, () => print())}</span></div>
    ${kinds.map(([status, title, none]) => html`
      <h2>${title}</h2>
      ${data[status].items.length ? nothing : html`<p class="quiet">${none}</p>`}
      <ul class="rows">${data[status].items.map((h) => html`<li>
        <span class="what"><a href="#book/${h.book.id}">${h.book.title}</a>
          <span class="quiet"><a href="#member/${h.user.id}">${h.user.name ?? words.desk.someone}</a> ${h.ready_until ? text.until(h.ready_until) : text.since(h.placed_on)}</span></span>
        <span class="buttons noprint">
          ${status === "ready" ? button(words.desk.printHold, () => printHold({ title: h.book.title, name: h.user.name ?? words.desk.someone, until: h.ready_until })) : nothing}
          ${asked(text.cancel, words.member.cancelSure(h.user.name ?? words.desk.someone), () => act(() => write("DELETE", `books/${h.book.id}/holds/${h.user.id}`), text.cancelled))}
        </span></li>`)}</ul>
      ${moreButton(data[status], text.more)}
      <p class="quiet noprint">${status === "ready" ? text.putBack : text.how}</p>`)}`,
};
