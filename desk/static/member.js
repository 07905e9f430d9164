// A member: loans, holds, the account.

import { get, write } from "./api.js";
import { toDesk } from "./find.js";
import { returned } from "./queue.js";
import { act, asked, button, enterGoesOn, folded, html, moreButton, nothing, state, submitted, tell } from "./ui.js";
import { date, number, words } from "./words.js";

const text = words.member;

const pageOf = ({ data, next }) => ({ items: data, next });

export const memberScreen = {
  title: ({ data }) => data?.user?.name ?? text.title,
  async load({ args: [id] }) {
    const at = `users/${encodeURIComponent(id)}`;
    const [user, loans, holds, account, history] = await Promise.all([
      get(at), get(`${at}/loans?status=open&limit=100`), get(`${at}/holds`), get(`${at}/account?limit=20`), get(`${at}/loans?status=returned&limit=20`),
    ]);
    return { user: user.data, loans: pageOf(loans), holds: holds.data, account: account.data, lines: { items: account.data.lines, next: account.next }, history: pageOf(history) };
  },
  view({ data: { user: u, loans, holds, account, lines, history } }) {
    const at = `users/${u.id}`;
    return html`
      <div class="head"><h1 tabindex="-1">${u.name}</h1>
        <span class="buttons">${button(text.open, () => toDesk(`user:${u.id}`), "first")}<a class="button" href="#edit-member/${u.id}">${text.edit}</a></span></div>
      <dl>
        ${u.card_number ? html`<div><dt>${text.card}</dt><dd>${u.card_number}</dd></div>` : nothing}
        ${u.email ? html`<div><dt>${text.email}</dt><dd>${u.email}</dd></div>` : nothing}
      </dl>
      ${u.status === "blocked" ? html`<p class="alarm">${words.desk.blocked(u.status_reason)}
        ${button(text.unblock, () => act(() => patch(u, { status: "active", status_reason: null }), text.isActive))}</p>` : nothing}

      <h2>${text.loans}</h2>
      ${loans.items.length ? nothing : html`<p class="quiet">${text.noLoans}</p>`}
      <ul class="rows">${loans.items.map((l) => html`<li>
        <span class="what"><a href="#book/${l.book.id}">${l.book.title}</a>
          ${l.days_overdue > 0 ? html`<span class="alarm">${text.due(l.due_date)}, ${text.late(l.days_overdue, l.fine)}</span>` : html`<span class="quiet">${text.due(l.due_date)}</span>`}</span>
        <span class="buttons">
          ${button(text.renew, () => act(() => write("POST", `loans/${l.id}/renew`), ({ data }) => (data.due_date === l.due_date ? text.renewedSame : text.renewed)(l.book.title, data.due_date)))}
          ${button(text.giveBack, () => act(() => giveBack(l.id), text.returned(l.book.title)))}
          ${folded(text.lost, html`
            <form @keydown=${enterGoesOn} @keypress=${enterGoesOn} @submit=${(e) => { e.preventDefault(); lost(l, e.target); }}>
              <label>${text.lostCharge}<input name="charge" inputmode="numeric" autocomplete="off"></label>
              <button ?disabled=${state.busy}>${text.lost}</button>
            </form>`)}
        </span></li>`)}</ul>
      ${moreButton(loans, text.more)}

      <h2>${text.holds}</h2>
      ${holds.length ? nothing : html`<p class="quiet">${text.noHolds}</p>`}
      <ul class="rows">${holds.map((h) => html`<li>
        <span class="what"><a href="#book/${h.book.id}">${h.book.title}</a>
          <span class=${h.status === "ready" ? "good" : "quiet"}>${h.status === "ready" ? text.holdReady(h.ready_until) : text.holdWaiting(h.position)}</span></span>
        ${asked(text.cancel, text.cancelSure(u.name), () => act(() => write("DELETE", `books/${h.book.id}/holds/${u.id}`), text.cancelled(h.book.title)))}</li>`)}</ul>

      <h2>${text.account}</h2>
      <dl class="sums">
        <div><dt>${text.balance}</dt><dd class=${account.balance > 0 ? "alarm" : ""}>${number(account.balance)}</dd></div>
        ${account.accruing ? html`<div><dt>${text.accruing}</dt><dd>${number(account.accruing)}</dd></div>` : nothing}
        <div><dt>${text.charged}</dt><dd>${number(account.charged)}</dd></div>
        <div><dt>${text.paid}</dt><dd>${number(account.paid)}</dd></div>
        <div><dt>${text.waived}</dt><dd>${number(account.waived)}</dd></div>
      </dl>
      <div class="side">
        ${money(text.payTitle, text.pay, text.note, false, account.balance, (form, amount, note) =>
          submitted(form, () => write("POST", `${at}/payments`, { body: { amount, ...(note && { note }) } }), text.paidNow(amount)))}
        ${admin() ? money(text.waiveTitle, text.waive, text.reason, true, account.balance, (form, amount, reason) =>
          submitted(form, () => write("POST", `${at}/waivers`, { body: { amount, reason } }), text.waivedNow(amount))) : nothing}
        ${admin() ? money(text.chargeTitle, text.charge, text.reason, true, "", (form, amount, reason) =>
          submitted(form, () => write("POST", `${at}/charges`, { body: { amount, reason } }), text.chargedNow(amount))) : nothing}
      </div>
      ${lines.items.length ? html`<h3>${text.lines}</h3>` : nothing}
      <ul class="rows plain">${lines.items.map((l) => html`<li>
        <span class="what">${text.kind[l.kind] ?? l.kind} <span class="quiet">${[date(l.added_on), l.loan?.book.title, l.reason].filter(Boolean).join(" · ")}</span></span>
        <span class="amount">${l.kind === "payment" || l.kind === "waiver" ? "−" : ""}${number(l.amount)}</span></li>`)}</ul>
      ${moreButton(lines, text.more)}

      <h2>${text.history}</h2>
      ${history.items.length ? nothing : html`<p class="quiet">${text.noHistory}</p>`}
      <ul class="rows plain">${history.items.map((l) => html`<li>
        <span class="what"><a href="#book/${l.book.id}">${l.book.title}</a> <span class="quiet">${text.lent(l.borrowed_on, l.returned_on)}</span></span>
        ${l.fine ? html`<span class="amount">${number(l.fine)}</span>` : nothing}</li>`)}</ul>
      ${moreButton(history, text.more)}

      <div class="side last">
      ${u.status === "blocked" ? nothing : folded(text.block, html`
        <form @keydown=${enterGoesOn} @keypress=${enterGoesOn} @submit=${(e) => { e.preventDefault(); submitted(e.target, () => patch(u, { status: "blocked", status_reason: e.target.reason.value.trim() || null }), text.isBlocked); }}>
          <label>${text.blockReason}<input name="reason" maxlength="500" autocomplete="off"></label>
          <button ?disabled=${state.busy}>${text.block}</button>
        </form>`)}
      ${admin() ? html`<details><summary>${text.remove}</summary>
        ${button(text.removeSure, () => act(async () => { await write("DELETE", at); location.hash = "#find"; }, text.gone), "danger")}</details>` : nothing}
      </div>`;
  },
};

// giveBack returns a loan, of which the desk then asks nothing more.
export const giveBack = (loan) => write("POST", `loans/${loan}/return`).then(() => returned(loan));

// Whether to offer what only the role admin may do. The server decides.
export const admin = () => !state.session || state.session.role === "admin";

const patch = (u, body) => write("PATCH", `users/${u.id}`, { body, type: "application/merge-patch+json" });

const whole = (value) => (/^\s*\d+\s*$/.test(value) ? Number(value) : undefined);

// money is a form for an amount, at the most what is owed, or any where most is "". It is there where nothing is owed, too, so that
// nothing else comes to where it was.
function money(title, label, about, needed, most, done) {
  return folded(title, most === 0 ? html`<p class="quiet">${text.nothingOwed}</p>` : html`
    <form @keydown=${enterGoesOn} @keypress=${enterGoesOn} @submit=${(e) => {
      e.preventDefault();
      const amount = whole(e.target.amount.value);
      if (!amount) {
        e.target.amount.select();
        return tell("no", text.wholeAmount);
      }
      done(e.target, amount, e.target.about.value.trim());
    }}>
      <label>${text.amount}<input name="amount" inputmode="numeric" required autocomplete="off" value=${most} @focus=${(e) => e.target.select()}></label>
      <label>${about}<input name="about" maxlength="500" autocomplete="off" ?required=${needed}></label>
      <button ?disabled=${state.busy}>${label}</button>
    </form>`);
}

function lost(loan, form) {
  const charge = whole(form.charge.value);
  if (form.charge.value.trim() && charge === undefined) {
    form.charge.select();
    return tell("no", text.wholeAmount);
  }
  submitted(form, () => write("POST", `loans/${loan.id}/lost`, { body: charge ? { charge } : {} }).then(() => returned(loan.id)), text.wasLost(loan.book.title));
}
