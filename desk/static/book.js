// A book: its copies, who has them, who waits, and how it was lent before, without names.

import { get, Problem, write } from "./api.js";
import { admin, giveBack } from "./member.js";
import { desk } from "./queue.js";
import { act, asked, button, html, moreButton, nothing, noticeOf, reload, say, state, update } from "./ui.js";
import { refusal, words } from "./words.js";

const text = words.book;

const pageOf = ({ data, next }) => ({ items: data, next });

// label gives copies their barcodes, one after the other, however fast they are scanned. What came of each stands under the field.
let labelling = Promise.resolve(), underWay = 0;
addEventListener("beforeunload", (event) => {
  if (underWay > 0) event.preventDefault();
});
function label(screen, book, barcode) {
  const entry = { tone: "look", text: text.adding(barcode) };
  screen.labels = [entry, ...(screen.labels ?? [])];
  underWay++;
  update();
  labelling = labelling.then(async () => {
    try {
      await write("POST", `books/${book.id}/copies`, { body: { barcode } });
      Object.assign(entry, { tone: "done", text: text.added(barcode) });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401) state.locked = true;
      Object.assign(entry, { tone: "no", text: `${barcode}: ${refusal(problem)}` });
    }
    underWay--;
    say(`${words.tone[entry.tone]}: ${entry.text}`);
    update();
    if (screen === state.screen && entry.tone === "done") await reload();
  });
}

export const bookScreen = {
  title: ({ data }) => data?.book?.title ?? text.title,
  async load({ args: [id] }) {
    const at = `books/${encodeURIComponent(id)}`;
    const [book, copies, holds, loans, history] = await Promise.all([
      get(at), get(`${at}/copies?limit=100`), get(`${at}/holds?limit=20`), get(`loans/?book_id=${encodeURIComponent(id)}&status=open&limit=20`), get(`loans/?book_id=${encodeURIComponent(id)}&status=returned&limit=10`),
    ]);
    return { book: book.data, copies: pageOf(copies), holds: pageOf(holds), loans: pageOf(loans), history: pageOf(history) };
  },
  view(screen) {
    const { book: b, copies, holds, loans, history } = screen.data;
    const at = `books/${b.id}`;
    const circulating = copies.items.filter((c) => !["lost", "damaged", "withdrawn"].includes(c.status)).length;
    const unlabelled = copies.next ? 0 : b.copies - circulating;
    const m = desk.member;
    return html`
      <div class="head"><h1 tabindex="-1">${b.title}</h1><a class="button" href="#edit-book/${b.id}">${text.edit}</a></div>
      <dl>
        ${[[text.by, b.author], [text.year, b.published_year], [text.category, b.category], [text.language, b.language], [text.isbn, b.isbn]].map(([name, value]) =>
          value ? html`<div><dt>${name}</dt><dd>${value}</dd></div>` : nothing)}
      </dl>

      <h2>${text.copies}</h2>
      <p>${text.copiesFree(b.copies_available, b.copies)}${unlabelled > 0 ? `; ${text.unlabelled(unlabelled)}` : ""}</p>
      <ul class="rows">${copies.items.map((c) => html`<li>
        <span class="what">${c.barcode ?? "–"} <span class=${c.status === "available" ? "good" : "quiet"}>${text.status[c.status] ?? c.status}</span>
          ${c.note ? html`<span class="quiet">${c.note}</span>` : nothing}</span>
        <details><summary>${text.edit}</summary><p class="buttons">
          ${["available", "lost", "damaged", "withdrawn"].filter((s) => s !== c.status && !(s === "available" && ["on_loan", "on_hold"].includes(c.status))).map((s) =>
            button(text.mark[s], () => act(() => write("PATCH", `copies/${c.id}`, { body: { status: s }, type: "application/merge-patch+json" }), text.marked(c.barcode ?? "–", text.status[s]))))}
        </p></details></li>`)}</ul>
      ${moreButton(copies, words.find.more)}
      <form class="inline" @submit=${(e) => {
        e.preventDefault(); // and a scanner's Enter does mean it: there is but one field
        const field = e.target.barcode, barcode = field.value.trim();
        field.value = "";
        field.focus();
        if (barcode) label(screen, b, barcode);
      }}>
        <label>${unlabelled > 0 ? text.labelCopy : text.addCopy}<input name="barcode" maxlength="64" autocomplete="off" spellcheck="false"></label>
        <button>${text.add}</button>
      </form>
      <div>${(screen.labels ?? []).map(noticeOf)}</div>

      <h2>${text.loans}</h2>
      ${loans.items.length ? nothing : html`<p class="quiet">${text.noLoans}</p>`}
      <ul class="rows">${loans.items.map((l) => html`<li>
        <span class="what"><a href="#member/${l.user.id}">${l.user.name ?? words.desk.someone}</a>
          ${l.copy_id ? html`<span class="quiet">${copies.items.find((c) => c.id === l.copy_id)?.barcode}</span>` : nothing}
          ${l.days_overdue > 0 ? html`<span class="alarm">${words.member.due(l.due_date)}, ${words.member.late(l.days_overdue, l.fine)}</span>` : html`<span class="quiet">${words.member.due(l.due_date)}</span>`}</span>
        ${button(words.member.giveBack, () => act(() => giveBack(l.id), words.member.returned(b.title)))}</li>`)}</ul>
      ${moreButton(loans, words.find.more)}

      <h2>${text.queue}</h2>
      ${holds.items.length ? nothing : html`<p class="quiet">${text.noQueue}</p>`}
      <ol class="rows">${holds.items.map((h) => html`<li>
        <span class="what"><a href="#member/${h.user.id}">${h.user.name ?? words.desk.someone}</a>
          <span class=${h.status === "ready" ? "good" : "quiet"}>${h.status === "ready" ? words.member.holdReady(h.ready_until) : words.member.holdWaiting(h.position)}</span></span>
        ${asked(words.member.cancel, words.member.cancelSure(h.user.name ?? words.desk.someone), () => act(() => write("DELETE", `${at}/holds/${h.user.id}`), words.holds.cancelled))}</li>`)}</ol>
      ${moreButton(holds, words.find.more)}
      ${m ? html`<p>${button(text.hold(m.name), () => act(() => write("POST", `${at}/holds/${m.id}`), ({ data }) => words.desk.held(m.name, data.position)))}</p>` : b.available ? nothing : html`<p class="quiet noprint">${text.holdHow}</p>`}

      <h2>${text.history}</h2>
      ${history.items.length ? nothing : html`<p class="quiet">${text.noHistory}</p>`}
      <ul class="rows plain">${history.items.map((l) => html`<li><span class="what">${words.member.lent(l.borrowed_on, l.returned_on)}</span></li>`)}</ul>
      ${moreButton(history, words.find.more)}

      ${admin() ? html`<details class="last"><summary>${text.remove}</summary>
        ${button(text.removeSure, () => act(async () => { await write("DELETE", at); location.hash = "#find"; }, text.gone), "danger")}</details>` : nothing}`;
  },
};
