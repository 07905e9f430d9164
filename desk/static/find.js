// A member or a book without a code, found as one types.

import { get, query } from "./api.js";
import { desk, scan } from "./queue.js";
import { button, html, moreButton, nothing, reload, state } from "./ui.js";
import { words } from "./words.js";

const text = words.find;

let typing;
function typed(event) {
  clearTimeout(typing);
  const { value } = event.target;
  typing = setTimeout(() => {
    const { screen } = state;
    if (screen.name !== "find") return;
    screen.query = new URLSearchParams(query({ q: value.trim() }));
    screen.address = `find?${screen.query}`;
    history.replaceState(null, "", `#${screen.address}`);
    reload();
  }, 150);
}

// toDesk opens a member at the desk, or does there with a book what a scan of it does; how is as of a scan.
export function toDesk(code, how) {
  scan(code, how);
  location.hash = "#desk";
}

// What can be done with the book at the desk now, by its name.
function atDesk(b) {
  const code = `book:${b.id}`, m = desk.member;
  if (m && b.available) return button(text.lendTo(m.name), () => toDesk(code, { for: m.id }));
  const ask = () => toDesk(code, { ask: true });
  if (m) return button(text.holdFor(m.name), ask);
  return b.copies_available < b.copies ? button(text.takeBack, ask) : nothing;
}

// scanned is what a barcode or another code is, where it is one: a list of {user} or {book}.
async function scanned(q, options) {
  if (!/\d/.test(q) || /\s/.test(q) || q.length > 100) return [];
  try {
    const { data } = await get(`scan/${query({ code: q })}`, options);
    return data.matches ?? [data];
  } catch (problem) {
    if (problem.status === 404) return [];
    throw problem;
  }
}

// first is a list of which some are known to be meant.
const first = (found, { data, next }) => ({ items: [...found, ...data.filter((d) => !found.some((f) => f.id === d.id))], next });

export const findScreen = {
  title: text.title,
  box: "q",
  instant: true,
  async load(screen) {
    screen.asked?.abort();
    screen.asked = new AbortController();
    const q = screen.query.get("q");
    if (!q) return { q };
    const { signal } = screen.asked;
    try {
      const [found, users, books] = await Promise.all([
        scanned(q, { signal }), get(`users/${query({ q, limit: 10 })}`, { signal }), get(`books/${query({ q, limit: 10 })}`, { signal }),
      ]);
      const of = (kind) => found.map((m) => m[kind]).filter(Boolean);
      return { q, users: first(of("user"), users), books: first(of("book"), books) };
    } catch (problem) {
      if (problem.name === "AbortError") return screen.data; // another question is on its way
      throw problem;
    }
  },
  view: ({ data, query: asked }) => html`
    <h1 tabindex="-1">${text.title}</h1>
    <form class="search" role="search" @submit=${(e) => e.preventDefault()}>
      <label>${text.box}<input id="q" type="search" maxlength="300" autocomplete="off" spellcheck="false" value=${asked.get("q") ?? ""} @input=${typed}></label>
    </form>
    ${data.users ? html`
      <p class="quiet" role="status">${data.users.items.length + data.books.items.length === 0 ? text.none : nothing}</p>
      ${data.users.items.length ? html`<h2>${text.members}</h2>
        <ul class="rows">${data.users.items.map((u) => html`<li>
          <span class="what"><a href="#member/${u.id}">${u.name}</a> <span class="quiet">${[u.card_number && text.card(u.card_number), u.email].filter(Boolean).join(" · ")}</span></span>
          ${button(text.toDesk, () => toDesk(`user:${u.id}`))}</li>`)}</ul>${moreButton(data.users, text.more)}` : nothing}
      ${data.books.items.length ? html`<h2>${text.books}</h2>
        <ul class="rows">${data.books.items.map((b) => html`<li>
          <span class="what"><a href="#book/${b.id}">${b.title}</a> <span class="quiet">${[b.author, b.published_year].filter(Boolean).join(" · ")}</span></span>
          <span class="state"><span class="tag ${b.available ? "done" : "look"}">${b.available ? words.catalogue.freeOf(b.copies_available, b.copies) : b.due_date ? words.catalogue.due(b.due_date) : words.catalogue.out}</span></span>
          ${atDesk(b)}</li>`)}</ul>${moreButton(data.books, text.more)}
        ${desk.member ? nothing : html`<p class="quiet">${text.cardFirst}</p>`}` : nothing}` : nothing}`,
};
