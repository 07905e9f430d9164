// Adding and editing a book and a member. A scanner's Enter goes on to the next field, and saves nothing.

import { get, isISBN, query, write } from "./api.js";
import { button, enterGoesOn, html, nothing, state, tell, tellThen, update } from "./ui.js";
import { refusal, words } from "./words.js";
import { Problem } from "./api.js";

const text = words.edit;

// The fields: [name, label, {required, type, …}]. What is scanned comes first, in the order of the scans.
const bookFields = [
  ["isbn", text.isbn, { max: 40, hint: text.isbnHint }], ["barcode", text.barcode, { max: 64 }],
  ["title", text.title, { required: true, max: 500 }], ["author", text.author, { required: true, max: 1000 }], ["published_year", text.year, { number: true }], ["category", text.category, { max: 100 }],
  ["language", text.language, { max: 35 }], ["copies", text.copies, { number: true }],
];
const memberFields = [
  ["name", text.name, { required: true, max: 255 }], ["card_number", text.card, { max: 64 }], ["email", text.email, { max: 254 }],
];

// A screen that edits what lies at `${list}/${id}`, or adds to the list where there is no id.
const editor = ({ title, list, to, fields, standard = {} }) => ({
  title,
  async load({ args: [id], query: given }) {
    if (id === undefined) return { values: { ...standard, ...Object.fromEntries(given) }, problems: {} };
    const { data, etag } = await get(`${list}/${encodeURIComponent(id)}`);
    return { values: data, problems: {}, id: data.id, etag };
  },
  view: ({ data }) => html`
    <h1 tabindex="-1">${title}</h1>
    <form class="card edit" novalidate @keydown=${enterGoesOn} @keypress=${enterGoesOn} @submit=${(e) => { e.preventDefault(); save(e.target, data); }}>
      ${fields.map(([name, label, kind]) => html`
        <label>${label} ${kind.required ? nothing : html`<span class="optional">${text.optional}</span>`}
          <input name=${name} value=${data.values[name] ?? ""} maxlength=${kind.max ?? 10} inputmode=${kind.number ? "numeric" : "text"} autocomplete="off" spellcheck="false"
            aria-required=${kind.required ? "true" : nothing} aria-invalid=${data.problems[name] ? "true" : nothing} aria-describedby=${data.problems[name] ? `${name}-problem` : nothing}
            @change=${name === "isbn" ? (e) => known(e.target, data) : nothing} @input=${() => { delete data.problems[name]; update(); }}>
          ${kind.hint ? html`<span class="optional">${kind.hint}</span>` : nothing}
          ${data.problems[name] ? html`<span class="alarm" id="${name}-problem">${data.problems[name]}</span>` : nothing}
        </label>
        ${name === "isbn" && data.known ? html`<p class="notice look">${text.known(data.known.title)} <a class="button" href="#book/${data.known.id}">${text.look}</a></p>` : nothing}`)}
      <p class="buttons"><button class="first" ?disabled=${state.busy}>${text.save}</button>${button(text.cancel, () => history.back())}</p>
    </form>`,
  drawn() {
    const form = document.querySelector("form.edit");
    if (form && !form.dataset.seen) { // once: the first field that is empty
      form.dataset.seen = "yes";
      setTimeout(() => [...form.querySelectorAll("input")].find((i) => i.value === "")?.focus());
    }
  },
  save,
  list, to, fields,
});

async function save(form, data) {
  const screen = screens[state.screen.name];
  const body = {};
  data.problems = {};
  for (const [name, , kind] of screen.fields) {
    const value = form[name].value.trim();
    if (value === "" && kind.required) data.problems[name] = text.must;
    if (value !== "" && kind.number && !/^-?\d+$/.test(value)) data.problems[name] = text.number;
    if (value !== "") body[name] = kind.number ? Number(value) : value;
    else if (data.id !== undefined && name !== "copies") body[name] = null;
  }
  if (Object.keys(data.problems).length > 0) return showProblems(form, data);
  if (state.busy) return;
  state.busy = true;
  update();
  try {
    const answer = data.id === undefined ? await write("POST", `${screen.list}/`, { body })
      : await write("PATCH", `${screen.list}/${data.id}`, { body, match: data.etag, type: "application/merge-patch+json" });
    state.busy = false;
    tellThen("done", text.saved(answer.data.title ?? answer.data.name));
    location.hash = `#${screen.to}/${answer.data.id}`;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) state.locked = true;
    for (const e of problem.errors) {
      const name = e.location.replace(/^body\./, "");
      if (form[name]) data.problems[name] = e.message;
    }
    state.busy = false;
    tell("no", refusal(problem));
    showProblems(form, data);
  }
}

function showProblems(form, data) {
  update();
  const first = Object.keys(data.problems)[0];
  if (first) setTimeout(() => { form[first].focus(); form[first].select(); }); // what is typed or scanned next takes its place
}

// known tells of a book that is in the catalogue already before a second one is typed in.
async function known(field, data) {
  data.known = undefined;
  if (isISBN(field.value)) {
    const found = await get(`books/${query({ isbn: field.value.trim(), limit: 1 })}`).catch(() => ({ data: [] }));
    data.known = found.data.find((b) => b.id !== data.id);
  }
  update();
}

export const addBook = editor({ title: text.addBook, list: "books", to: "book", fields: bookFields, standard: { copies: 1 } });
export const editBook = editor({ title: text.editBook, list: "books", to: "book", fields: bookFields });
export const addMember = editor({ title: text.addMember, list: "users", to: "member", fields: memberFields });
export const editMember = editor({ title: text.editMember, list: "users", to: "member", fields: memberFields });

const screens = { "add-book": addBook, "edit-book": editBook, "add-member": addMember, "edit-member": editMember };
