// The desk's screens.

import { base } from "./api.js";
import { bookScreen } from "./book.js";
import { choiceKey, deskScreen, toBox } from "./desk-screen.js";
import { addBook, addMember, editBook, editMember } from "./edit.js";
import { findScreen } from "./find.js";
import { holdsScreen } from "./holds.js";
import { keyForm, whose } from "./key.js";
import { memberScreen } from "./member.js";
import { overdueScreen } from "./overdue.js";
import { close, desk, touched } from "./queue.js";
import { button, content, focus, html, notice, nothing, show, start, state } from "./ui.js";
import { words } from "./words.js";

const screens = {
  desk: deskScreen, find: findScreen, member: memberScreen, book: bookScreen, overdue: overdueScreen, holds: holdsScreen,
  "add-book": addBook, "add-member": addMember, "edit-book": editBook, "edit-member": editMember,
};

const links = [["desk", words.to.desk], ["find", words.to.find], ["overdue", words.to.overdue], ["holds", words.to.holds], ["add-book", words.to.book], ["add-member", words.to.member]];

// Whether the key is asked for in the middle of work, which then stays in sight.
const interrupted = () => state.screen.name === "desk" && (desk.queue.length > 0 || desk.member);

// On the desk itself the card stands above the box. Everywhere else it is said, too, to whom a book is lent that is scanned now.
function openCard() {
  const m = desk.member;
  if (!m || state.screen.name === "desk" || state.locked) return nothing;
  return html`<aside class="open noprint" aria-label=${words.desk.member}>
    <p><b>${words.desk.isOpen}</b> <a href="#desk">${m.name}</a>. ${m.blocked ? html`<span class="alarm">${words.desk.blocked(m.reason)}</span>` : words.desk.nowLent(m.name)}
      ${desk.closesIn ? html`<span class="alarm">${words.desk.closes(desk.closesIn)}</span>` : nothing}</p>
    ${button(words.desk.done, () => { close(); focus(); })}
  </aside>`;
}

start(screens, "desk", () => html`
  <a class="unseen" href="#content" @click=${(e) => { e.preventDefault(); document.getElementById("content").focus(); }}>${words.skip}</a>
  <div class="top">
  <header>
    <a class="home" href=${base}>${words.library}</a>
    <nav aria-label=${words.navigation}>${links.map(([name, label]) =>
      html`<a href="#${name}" aria-current=${state.screen.name === name ? "page" : nothing}>${label}</a>`)}</nav>
    ${whose()}
  </header>
  ${openCard()}
  </div>
  <main class="page" id="content" tabindex="-1">
    ${state.locked ? html`<h1 tabindex="-1">${words.key.title}</h1>${notice()}${keyForm(interrupted() ? words.desk.keyNeeded(desk.queue.length) : words.key.text)}` : notice()}
    ${state.locked && !interrupted() ? nothing : content()}
  </main>`, () => {
  show("desk");
  location.hash = "#desk";
  toBox().focus(); // and the key is typed there
});

addEventListener("keydown", (event) => {
  touched();
  if (event.target.closest?.("#lines")) choiceKey(event);
  if (event.key === "Escape" && state.screen.name === "desk") toBox()?.focus();
}, true);
addEventListener("pointerdown", touched, true);
