// The way in.

import { base } from "./api.js";
import { html, start } from "./ui.js";
import { words } from "./words.js";

const door = (path, title, text) => html`<li><a class="door" href=${new URL(path, base)}><b>${title}</b><span>${text}</span></a></li>`;

start({ home: { title: words.home.title, view: () => html`` } }, "home", () => html`
  <main class="page">
    <h1 tabindex="-1">${words.home.title}</h1>
    <ul class="doors">
      ${door("catalogue", words.to.catalogue, words.home.catalogue)}
      ${door("desk", words.to.desk, words.home.desk)}
      ${door("docs", words.to.docs, words.home.docs)}
    </ul>
  </main>`);
