// What is overdue, by member, for the screen, for paper and for a spreadsheet.

import { get } from "./api.js";
import { act, button, html, more, moreButton, nothing } from "./ui.js";
import { words } from "./words.js";

const text = words.overdue;

export const overdueScreen = {
  title: text.title,
  async load() {
    const { data, next } = await get("loans/?status=overdue&limit=200");
    return { items: data, next };
  },
  view({ data }) {
    const members = new Map();
    for (const l of data.items) members.set(l.user.id, [...(members.get(l.user.id) ?? []), l]);
    return html`
      <div class="head"><h1 tabindex="-1">${text.title}</h1>
        ${data.items.length ? html`<span class="buttons noprint">
          ${data.next ? button(text.all, () => act(async () => { while (data.next) await more(data); })) : nothing}
          ${button(text.print, () => print())} ${button(text.csv, () => act(async () => { while (data.next) await more(data); csv(data.items); }))}</span>` : nothing}</div>
      <p class="quiet">${data.items.length ? text.shown(data.items.length, members.size) : text.none}</p>
      ${[...members.values()].map((loans) => html`
        <section class="group">
          <h2><a href="#member/${loans[0].user.id}">${loans[0].user.name ?? words.desk.someone}</a></h2>
          <ul class="rows">${loans.map((l) => html`<li>
            <span class="what"><a href="#book/${l.book.id}">${l.book.title}</a> <span class="quiet">${text.due(l.due_date)}</span></span>
            <span class="state"><span class="alarm">${text.late(l.days_overdue)}</span> ${l.fine ? html`<span class="quiet">${text.soFar(l.fine)}</span>` : nothing}</span></li>`)}</ul>
        </section>`)}
      ${moreButton(data, text.more)}`;
  },
};

// A cell that a spreadsheet would run as a formula gets a ' before it, as in the library's own exports.
const cell = (value) => {
  const s = String(value ?? "");
  return `"${(/^[=+\-@\t\r']/.test(s) ? `'${s}` : s).replaceAll('"', '""')}"`;
};

function csv(loans) {
  const rows = [text.columns, ...loans.map((l) => [l.user.name, l.book.title, l.due_date, l.days_overdue, l.fine])];
  const file = new Blob(["\ufeff", rows.map((r) => r.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: text.file });
  link.click();
  URL.revokeObjectURL(link.href);
}
