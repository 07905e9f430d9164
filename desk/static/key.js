// Logging in: the key is sent once for a session, whose cookie no script can read.

import { call } from "./api.js";
import { button, focus, html, nothing, reload, state, tell, update } from "./ui.js";
import { refusal, words } from "./words.js";

// Told of each session that begins and ends.
export const sessions = { began() {}, ended() {} };

async function logIn(event) {
  event.preventDefault();
  const form = event.target;
  const key = form.key.value.trim();
  if (state.busy || key === "") return;
  state.busy = true;
  update();
  try {
    const { data } = await call("POST", "session", { body: { key, who: form.who.value.trim() || null } });
    form.reset();
    // The public part of a key: it tells two of one name apart, and opens nothing.
    state.session = { name: data.name, role: data.role, id: key.slice(7, 15) };
    localStorage.setItem("session", JSON.stringify(state.session));
    state.locked = false;
    state.notice = undefined;
    sessions.began();
    await reload();
    focus();
  } catch (problem) {
    tell("no", refusal(problem));
  } finally {
    state.busy = false;
    update();
  }
}

export async function logOut() {
  await call("DELETE", "session").catch(() => {});
  state.session = null;
  localStorage.removeItem("session");
  sessions.ended();
  state.locked = true;
  state.screen.data = undefined;
  document.getElementById("said").replaceChildren(); // names stay with whoever was logged in
  await reload();
  focus();
}

export const keyForm = (text) => html`
  <form class="card key" autocomplete="off" @submit=${logIn}>
    <p>${text}</p>
    <label>${words.key.key}<input id="key" name="key" type="password" required autocapitalize="off" spellcheck="false" autocomplete="off"></label>
    <label>${words.key.who}<input name="who" maxlength="32" autocomplete="off"></label>
    <p><button class="first" ?disabled=${state.busy}>${words.key.send}</button></p>
  </form>`;

export const whose = () =>
  state.session && !state.locked ? html`<span class="whose">${state.session.name} ${button(words.key.out, logOut, "small")}</span>` : nothing;
