// The catalogue for readers: what there is, and what is free; never who has it.

import { get, query } from "./api.js";
import { keyForm, whose } from "./key.js";
import { content, html, moreButton, notice, nothing, reload, start, state } from "./ui.js";
import { date, number, words } from "./words.js";

const say = words.catalogue;
const pageSize = 20;

export const free = (b) => (b.available ? say.freeOf(b.copies_available, b.copies) : b.due_date ? say.due(b.due_date) : say.out);

const availability = (b) => html`
  <span class="tag ${b.available ? "done" : "look"}">${free(b)}</span>
  ${b.holds_waiting ? html`<span class="quiet">${say.waiting(b.holds_waiting)}</span>` : nothing}`;

// search is put into the address as it is typed, so that going back from a book leads to it.
let typing;
function typed(event) {
  clearTimeout(typing);
  const form = event.currentTarget;
  typing = setTimeout(() => {
    const { screen } = state;
    if (screen.name !== "list") return;
    screen.query = new URLSearchParams(query({ q: form.q.value.trim(), available: form.free.checked ? "true" : "" }));
    history.replaceState(null, "", `#list?${screen.query}`);
    screen.asked?.abort();
    reload();
  }, 150);
}

const list = {
  title: say.title,
  box: "q",
  async load(screen) {
    screen.asked = new AbortController();
    const fields = { q: screen.query.get("q"), available: screen.query.get("available") };
    if (!fields.q) fields.sort = fields.available ? "title" : "-id";
    try {
      const { data, next } = await get(`books/${query({ ...fields, limit: pageSize })}`, { signal: screen.asked.signal });
      return { items: data, next, q: fields.q };
    } catch (problem) {
      if (problem.name === "AbortError") return screen.data; // another question is on its way
      throw problem;
    }
  },
  view: ({ data, query: asked }) => html`
    <h1 tabindex="-1">${say.title}</h1>
    <form class="search" role="search" @input=${typed} @submit=${(e) => { e.preventDefault(); typed(e); }}>
      <label>${say.box}<input id="q" name="q" type="search" maxlength="300" autocomplete="off" spellcheck="false" value=${asked.get("q") ?? ""}></label>
      <label class="check"><input name="free" type="checkbox" ?checked=${asked.get("available") === "true"}> ${say.onlyFree}</label>
    </form>
    ${notice()}
    <p class="quiet" role="status">${data.items.length === 0 ? (data.q ? say.none(data.q) : say.empty) : data.q ? say.found(data.items.length, data.next) : say.newest}</p>
    <ul class="rows">
      ${data.items.map((b) => html`<li>
        <span class="what"><a href="#book/${b.id}">${b.title}</a>
          <span class="quiet">${[b.author, b.published_year, b.category].filter(Boolean).join(" · ")}</span></span>
        <span class="state">${availability(b)}</span>
      </li>`)}
    </ul>
    ${moreButton(data, say.more)}`,
};

const book = {
  title: ({ data }) => data?.title ?? say.title,
  load: async ({ args }) => (await get(`books/${encodeURIComponent(args[0])}`)).data,
  view: ({ data: b }) => html`
    <p><a href="#list" @click=${(e) => { if (history.length > 1) { e.preventDefault(); history.back(); } }}>${say.back}</a></p>
    <article class="card">
      <h1 tabindex="-1">${b.title}</h1>
      <p>${availability(b)}</p>
      <dl>
        ${[
          [say.facts.author, b.author],
          [say.facts.year, b.published_year],
          [say.facts.category, b.category],
          [say.facts.language, b.language],
          [say.facts.isbn, b.isbn],
          [say.facts.copies, number(b.copies)],
        ].map(([name, value]) => (value ? html`<div><dt>${name}</dt><dd>${value}</dd></div>` : nothing))}
      </dl>
      <p class="quiet">${say.ask}</p>
    </article>`,
};

start({ list, book }, "list", () => html`
  <a class="unseen" href="#content" @click=${(e) => { e.preventDefault(); document.querySelector("main").focus(); }}>${words.skip}</a>
  <header><a class="home" href="#list">${words.library}</a>${whose()}</header>
  <main class="page" id="content" tabindex="-1">
    ${state.locked ? html`<h1 tabindex="-1">${say.title}</h1>${notice()}${keyForm(say.closed)}` : content()}
  </main>`);
