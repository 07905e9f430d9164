// The desk's one queue: what was scanned, in order, until it is known what came of it. It is kept in the tab's sessionStorage
// with the decisions and the member, so that a reload loses nothing; each write goes out under a key of its own until its
// answer is known, so that nothing takes effect twice.

import { call, get, isISBN, newKey, pause, Problem, query } from "./api.js";
import { sessions } from "./key.js";
import { beep } from "./sound.js";
import { say, state, update } from "./ui.js";
import { refusal, words } from "./words.js";

const text = words.desk;
const saved = "desk";
const maxLines = 50;
const keyLife = 24 * 60 * 60 * 1000; // as the server keeps them
const twice = 3000; // ms within which a second scan of the same book is taken for a slip of the hand
const patience = 60, warning = 20; // seconds without a key until a member closes, and how long before that it is said

// The desk: the member who is open, or null; the lines, newest first; the queue of {id, at, code} or {close} or {op}, at being when
// it was scanned; the loans of this visit, for the slip; whose session began the queue.
export const desk = {
  member: null, lines: [], queue: [], visit: [], serial: 0, owner: null,
  ...JSON.parse(sessionStorage.getItem(saved) ?? "{}"),
  // Not kept: why the queue stands still ("offline", "busy", "owner"), and the seconds until the member closes, once it is said.
  stopped: "", closesIn: 0,
};

function save() {
  const { member, lines, queue, visit, serial, owner } = desk;
  sessionStorage.setItem(saved, JSON.stringify({ member, lines, queue, visit, serial, owner }));
  update();
}

// Look-ups that run ahead, by the item's id: {answer, changed}, changed being the books written since they began.
const ahead = new Map();

// ---- What people do

// scan is a scan of a code, or of what was found by words: with {ask: true} nothing is done before somebody has chosen, with {for: id}
// unless that member's card is open.
export function scan(code, how) { push({ code, ...how }); }
export function close() { if (open()) push({ close: true }); }

// open is the member's id once all that waits is done, undefined where nobody knows yet.
function open() {
  for (const item of desk.queue.toReversed()) {
    if (item.close) return false;
    if (item.code) return true; // perhaps a card
  }
  return desk.member !== null;
}

// answer is a button of a line: it was asked, so that its other buttons are of no use.
export function answer(line, button) {
  if (!button.item || !line.buttons.includes(button)) return;
  line.buttons = line.buttons.filter((b) => !b.item);
  push(structuredClone(button.item));
}

// A button {label, item, slip or go} may say what it depends on: for, the member whose card must be open; loan, that must be open;
// lends, the code of what must not be lent yet. What has become of these takes it away, so that no old line does what nobody means.
function drop(over) {
  for (const l of desk.lines) l.buttons = l.buttons.filter((b) => !over(b));
}

// returned takes what is said of a loan that is over from the lines and from the slip of this visit.
export function returned(loan) {
  desk.visit = desk.visit.filter((v) => v.loan !== loan);
  drop((b) => b.loan === loan);
  save();
}

const cardChanged = () => drop((b) => b.for !== undefined && b.for !== desk.member?.id);

export function clear() {
  desk.lines = [];
  save();
}

function push(item) {
  if (desk.queue.length === 0) desk.owner = state.session?.id ?? null;
  item.id = ++desk.serial;
  item.at = Date.now();
  if (item.op) item.op.key = newKey();
  desk.queue.push(item);
  lookAhead(item);
  save();
  work();
}

export function sendAll() {
  desk.owner = state.session?.id ?? null;
  desk.stopped = "";
  save();
  work();
}

export function dropAll() {
  desk.queue = [];
  desk.owner = null;
  desk.stopped = "";
  save();
}

sessions.began = () => {
  if (desk.queue.length > 0 && desk.owner !== state.session.id) desk.stopped = "owner";
  work();
};
sessions.ended = () => {
  Object.assign(desk, { member: null, lines: [], visit: [] });
  save();
};

// ---- The member closes by itself

let lastKey = Date.now();
export function touched() {
  lastKey = Date.now();
  if (desk.closesIn) {
    desk.closesIn = 0;
    update();
  }
}

// A page that was asleep learns the time from the clock, not from the number of ticks.
setInterval(() => {
  if (!desk.member || desk.queue.length > 0) return;
  const left = Math.ceil(patience - (Date.now() - lastKey) / 1000);
  if (left <= 0) {
    desk.closesIn = 0;
    close();
  } else if (left <= warning && left !== desk.closesIn) {
    if (!desk.closesIn) say(text.closes(left));
    desk.closesIn = left;
    update();
  }
}, 250);

addEventListener("beforeunload", (event) => {
  if (desk.queue.length > 0) event.preventDefault();
});

// ---- The work, one item after the other

let working = false;
export async function work() {
  if (working) return;
  working = true;
  try {
    for (let tried = 1; desk.queue.length > 0 && desk.stopped !== "owner"; ) {
      const item = desk.queue[0];
      try {
        if (Date.now() - item.at > keyLife) tooOld(item);
        else await step(item);
        touchedByWork();
        desk.queue.shift();
        ahead.delete(item.id);
        desk.stopped = "";
        tried = 1;
        save();
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        if (problem.status === 401) {
          state.locked = true;
          say(text.keyNeeded(desk.queue.length));
          break;
        }
        if (problem.unknown && !(problem.status === 500 && tried >= 3)) {
          const why = problem.status === 0 ? "offline" : "busy";
          if (!desk.stopped && (tried > 1 || why === "offline")) say(`${words.tone.no}: ${text[why](desk.queue.length)}`);
          desk.stopped = tried > 1 || why === "offline" ? why : "";
          update();
          await pause([500, 1000, 2000][tried - 1] ?? 2000);
          tried++;
          continue;
        }
        failed(item, problem);
        desk.queue.shift();
        ahead.delete(item.id);
        desk.stopped = "";
        tried = 1;
        save();
      }
    }
  } finally {
    working = false;
    update();
  }
  if (desk.queue.length === 0 && !state.locked) refresh();
}

// Who waited for the server has time left to go on.
const touchedByWork = () => { lastKey = Math.max(lastKey, Date.now() - 1000 * (patience - warning - 5)); };

async function step(item) {
  if (item.close) return closeMember();
  if (!item.op) await decide(item);
  if (item.op) await carryOut(item);
}

function closeMember() {
  if (!desk.member) return;
  desk.member = null;
  desk.visit = [];
  desk.closesIn = 0;
  cardChanged();
  say(text.closed);
}

// ---- What a code is

const lookUp = async (code) => readScan((await get(`scan/${query({ code })}`)).data);

function lookAhead(item) {
  if (!item.code || item.op) return;
  const entry = { changed: new Set(), answer: lookUp(item.code) };
  entry.answer.catch(() => {}); // who comes to it will see
  ahead.set(item.id, entry);
}

// look is what a code is, as of after all that came before: an answer from before a write of its book is not taken.
async function look(item) {
  const entry = ahead.get(item.id);
  if (entry) {
    ahead.delete(item.id);
    try {
      const found = await entry.answer;
      if (!found.some((f) => entry.changed.has(f.book?.id))) return found;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.unknown && problem.status !== 401) throw problem;
    }
  }
  return lookUp(item.code);
}

// ---- What to do about it

async function decide(item) {
  let found;
  try {
    found = await look(item);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    return unknown(item);
  }
  if (found.length > 1) {
    return line(item, "look", {
      title: item.code, text: text.which,
      buttons: found.map(choice),
    });
  }
  const [it] = found;
  if (item.for !== undefined && item.for !== desk.member?.id) item.ask = true; // another card was opened meanwhile
  return it.user ? openMember(item, it.user) : desk.member ? lendOrAsk(item, it) : giveBackOrAsk(item, it);
}

const nameOf = (f) => (f.user ? text.foundMember(f.user.name, f.user.card_number) : f.copy?.barcode ? text.foundCopy(f.book.title, f.copy.barcode) : text.foundBook(f.book.title, f.book.author));
const codeOf = (f) => (f.user ? `user:${f.user.id}` : f.copy?.barcode ?? `book:${f.book.id}`);
// What a request names a scanned book by.
const named = (it) => (it.copy?.barcode ? { barcode: it.copy.barcode } : { book_id: it.book.id });

// choice is a button for one of several things: it says what it does.
function choice(f) {
  const { member } = desk, code = codeOf(f);
  if (f.user) return { label: nameOf(f), item: { code } };
  if (member) return { label: text.lendThis(member.name, nameOf(f)), for: member.id, item: { code, for: member.id } };
  return { label: nameOf(f), item: { code, ask: true } };
}

async function unknown(item) {
  const { code } = item;
  if (isISBN(code)) {
    return line(item, "no", { title: code, text: text.unknownTitle, buttons: [{ label: text.addBook, go: `#add-book${query({ isbn: code })}` }] });
  }
  if (/\d/.test(code) && !/\s/.test(code)) {
    return line(item, "no", { title: code, text: text.unknownTitle, buttons: [
      { label: text.newCard, go: `#add-member${query({ card_number: code })}` }, { label: text.newBook, go: `#add-book${query({ barcode: code })}` },
    ] });
  }
  const [users, books] = await Promise.all([get(`users/${query({ q: item.code, limit: 5 })}`), get(`books/${query({ q: item.code, limit: 5 })}`)]);
  const found = [...users.data.map((user) => ({ user })), ...books.data.map((book) => ({ book }))];
  if (found.length === 0) return line(item, "no", { title: item.code, text: text.notFound(item.code) });
  line(item, "look", { title: text.found(item.code), text: text.which, buttons: found.map(choice) });
}

async function openMember(item, user) {
  const member = await summary(user.id);
  if (desk.member?.id !== member.id) desk.visit = [];
  desk.member = member;
  cardChanged();
  const bad = member.blocked || member.overdue > 0;
  line(item, member.blocked ? "no" : bad ? "look" : "done", {
    title: member.name, text: [member.blocked && text.blocked(member.reason), text.opened(member)].filter(Boolean).join(". "),
  });
}

// summary is a member as the desk shows it. None of it grows with the loans of the past.
async function summary(id) {
  const [user, overdue, holds] = await Promise.all([
    get(`users/${id}`), get(`users/${id}/loans?status=overdue&limit=1000`), get(`users/${id}/holds`),
  ]);
  return readMember(user.data, overdue.data, holds.data);
}

// refresh shows what has become of the member meanwhile, perhaps at another desk.
async function refresh() {
  const { member } = desk;
  if (!member) return;
  try {
    const now = await summary(member.id);
    if (desk.member?.id !== member.id) return;
    desk.member = now;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.code === "user_not_found" && desk.member?.id === member.id) {
      desk.member = null;
      cardChanged();
    }
    if (problem.status === 401) state.locked = true;
  }
  save();
}

// giveBackOrAsk: nobody is open, so that a book scanned has come back.
function giveBackOrAsk(item, it) {
  const { loans } = it;
  if (loans.length === 0) {
    const aside = it.ready.length > 0 && (it.copy ? it.copy.status === "on_hold" : !it.book.available) && text.onHoldsShelf(it.ready.map(holder));
    const said = wasJust(item, it, "returned") ? [text.twiceReturned, aside] : [aside || (text.state[it.copy?.status] ?? text.free)];
    return line(item, "look", { title: it.book.title, text: said.filter(Boolean).join(". ") });
  }
  if (loans.length > 1 || item.ask) return whoBrings(item, it);
  item.op = giveBack(it, loans[0].user);
}

const holder = (h) => text.until(h.user.name ?? text.someone, h.ready_until);

const giveBack = (it, user) => ({
  kind: "return", method: "POST", path: "returns/", key: newKey(), title: it.book.title, book: it.book.id, code: codeOf(it), named: named(it),
  body: { ...named(it), user_id: user.id },
});

const takeBack = (it, l, label = text.takeBackFrom) => ({ label: label(l.user.name ?? text.someone), loan: l.id, item: { op: giveBack(it, l.user) } });

const whoBrings = (item, it) => line(item, "look", it.loans.length === 1
  ? { title: it.book.title, text: onLoanTo(it.loans[0]), buttons: [takeBack(it, it.loans[0])] }
  : { title: it.book.title, text: text.whoBrings, buttons: it.loans.map((l) => takeBack(it, l, String)) });

const onLoanTo = (l) => text.onLoanTo(l.user.name ?? text.someone, l.due_date);

async function lendOrAsk(item, it) {
  const member = desk.member;
  const own = it.loans.find((l) => l.user.id === member.id);
  if (own) return ownLoan(item, it, own);
  const out = it.copy ? it.copy.status === "on_loan" : !it.book.available && !it.readyFor(member.id);
  if (out && it.loans.length > 0) return othersLoan(item, it);
  if (item.ask) {
    return line(item, "look", {
      title: it.book.title, text: text.ask,
      buttons: [{ label: text.lendTo(member.name), for: member.id, lends: codeOf(it), item: { op: lend(it, member) } }],
    });
  }
  item.op = lend(it, member);
}

const lend = (it, member) => ({
  kind: "lend", method: "POST", path: "loans/", key: newKey(), title: it.book.title, book: it.book.id, code: codeOf(it), named: named(it),
  member, body: { user_id: member.id, ...named(it) },
  // Whether a hold of theirs ends with it, and for whom else copies are set aside.
  fulfils: it.readyFor(member.id), others: it.ready.filter((h) => h.user.id !== member.id).map(holder),
});

function ownLoan(item, it, loan) {
  if (wasJust(item, it, "lent", desk.member.id)) return line(item, "look", { title: it.book.title, text: text.twiceLent });
  line(item, "look", {
    title: it.book.title, text: text.onThisCard(loan.due_date),
    buttons: [
      { label: text.renew, for: desk.member.id, loan: loan.id, item: { op: { kind: "renew", method: "POST", path: `loans/${loan.id}/renew`, title: it.book.title, book: it.book.id, who: desk.member.name, was: loan.due_date } } },
      { label: text.giveBack, for: desk.member.id, loan: loan.id, item: { op: giveBackLoan(loan.id, { title: it.book.title, book: it.book.id, code: codeOf(it), named: named(it) }) } },
    ],
  });
}

// giveBackLoan returns a loan; with undo it was lent by mistake, and fulfils is then whether a hold ended with it.
const giveBackLoan = (loan, { title, book, code, named, fulfils }, undo = false) => ({
  kind: "return", undo, method: "POST", path: `loans/${loan}/return`, title, book, code, named, fulfils,
});

function othersLoan(item, it, member = desk.member) {
  const only = it.loans.length === 1 ? it.loans[0] : undefined;
  const buttons = it.loans.length <= 5 ? it.loans.map((l) => takeBack(it, l)) : [];
  if (only) buttons.push({ label: text.takeAndLend(member.name), for: member.id, loan: only.id, item: { op: { ...giveBack(it, only.user), then: lend(it, member) } } });
  buttons.push({ label: text.hold(member.name), for: member.id, loan: only?.id, item: { op: hold(it.book, member) } });
  line(item, "look", { title: it.book.title, buttons, text: only ? onLoanTo(only) : text.allOut(it.book.due_date) });
}

const hold = (book, member) => ({
  kind: "hold", method: "POST", path: `books/${book.id}/holds/${member.id}`, title: book.title, book: book.id, member,
});

// wasJust tells a slip of the hand from a question: the last line about this copy is of a moment ago, and says that it was done.
function wasJust(item, it, did, member) {
  const last = desk.lines.find((l) => l.code === codeOf(it));
  return last?.did === did && item.at - last.scanned < twice && (member === undefined || last.member === member);
}

// ---- Doing it

async function carryOut(item) {
  const { op } = item;
  op.key ??= newKey();
  save(); // before it is sent: after a reload it goes out under the same key
  let answer;
  try {
    answer = (await call(op.method, op.path, { body: op.body, key: op.key })).data;
  } catch (problem) {
    if (problem instanceof Problem && !problem.unknown && problem.status !== 401) {
      wrote(op);
      return await refused(item, problem);
    }
    throw problem;
  }
  wrote(op);
  did[op.kind](item, op, answer);
}

const wrote = (op) => ahead.forEach((entry) => entry.changed.add(op.book));

const did = {
  lend(item, op, answer) {
    const { id, due } = readLoan(answer);
    drop((b) => b.lends === op.code);
    if (desk.member?.id === op.member.id) {
      desk.member.onLoan++;
      if (op.fulfils) desk.member.pickUp = desk.member.pickUp?.filter((title) => title !== op.title);
      desk.visit.push({ title: op.title, due, loan: id });
    }
    line(item, "done", {
      title: op.title, text: text.lent(op.member.name, due), code: op.code, did: "lent", member: op.member.id,
      buttons: [{ label: op.fulfils ? text.undoHold : text.undo, loan: id, item: { op: giveBackLoan(id, op, true) } }],
    });
  },
  return(item, op, answer) {
    const back = readReturn(answer);
    returned(back.loan);
    const who = back.who ?? text.someone;
    const parts = [op.undo ? text.undone(who) : text.returned(who)];
    if (back.late > 0) parts.push(text.late(back.late, back.fine));
    if (back.balance > 0) parts.push(`${who}: ${text.owes(back.balance)}`);
    if (op.undo && op.fulfils) parts.push(text.holdGone);
    const buttons = [];
    if (op.then && back.hold?.member === op.then.member.id) op.then.fulfils = true; // who waited first takes it along
    else if (back.hold) {
      parts.unshift(text.setAside(back.hold.name ?? text.someone, back.hold.until));
      buttons.push({ label: text.printHold, slip: { title: op.title, name: back.hold.name ?? text.someone, until: back.hold.until } });
    }
    if (op.undo && op.fulfils && back.hold) { // at the end of the queue; else a copy is free
      buttons.push({ label: text.hold(who), item: { op: hold({ id: op.book, title: op.title }, { id: back.member, name: who }) } });
    }
    if (!op.undo && !op.then && !back.hold && back.who && op.named) {
      const member = { id: back.member, name: back.who };
      buttons.push({ label: text.lendAgain(back.who), lends: op.code, item: { op: {
        kind: "lend", method: "POST", path: "loans/", title: op.title, book: op.book, code: op.code, named: op.named, member, body: { user_id: member.id, ...op.named },
      } } });
    }
    line(item, back.hold && !op.then?.fulfils ? "look" : "done", { title: op.title, text: parts.join(". "), code: op.code, did: op.undo ? "undone" : "returned", buttons });
    if (op.then) next(op.then);
  },
  renew(item, op, answer) {
    const { due } = readLoan(answer);
    for (const v of desk.visit) if (`loans/${v.loan}/renew` === op.path) v.due = due;
    line(item, "done", { title: op.title, text: due === op.was ? text.renewedSame(op.who, due) : text.renewed(op.who, due) });
  },
  hold(item, op, answer) {
    line(item, "done", {
      title: op.title, text: text.held(op.member.name, answer.position),
      buttons: [{ label: text.undo, item: { op: { ...op, kind: "unhold", method: "DELETE" } } }],
    });
  },
  unhold(item, op) {
    line(item, "done", { title: op.title, text: text.unheld(op.member.name) });
  },
};

// next puts something before all that waits.
const next = (op) => desk.queue.splice(1, 0, { id: ++desk.serial, at: Date.now(), op: { ...op, key: newKey() } });

// refused shows why not. Where somebody was quicker than the look-up, it looks again.
async function refused(item, problem) {
  const { op } = item;
  if (op.then && problem.code === "not_borrowed") return next(op.then); // another desk has taken it back
  const again = ["already_borrowed", "copy_on_loan", "not_available", "which_user", "not_borrowed"];
  if (again.includes(problem.code) && (op.kind === "lend" || op.kind === "return" && op.body) && !op.undo) {
    const code = item.code ?? op.code ?? (op.body.barcode || `book:${op.book}`);
    const found = (await lookUp(code)).find((f) => f.book?.id === op.book);
    if (found && op.kind === "lend") {
      const own = found.loans.find((l) => l.user.id === op.member.id);
      if (own && desk.member?.id === op.member.id) return ownLoan(item, found, own);
      if (!own && found.loans.length > 0) return othersLoan(item, found, op.member);
    } else if (found && !desk.member) {
      if (found.loans.length > 1) return whoBrings(item, found);
      if (found.loans.length === 0) return giveBackOrAsk(item, found);
    }
  }
  const who = problem.codes.includes("on_hold") && op.others?.length > 0 ? `: ${op.others.join(", ")}` : "";
  line(item, "no", { title: op.title, text: refusal(problem, op.member) + who });
}

// failed is what no answer helps with: a fault of the server's, or of this page.
function failed(item, problem) {
  const about = item.op?.member?.id ?? desk.member?.id;
  line(item, "no", {
    title: item.op?.title ?? item.code, text: problem.status >= 500 ? text.notSure : refusal(problem),
    buttons: about ? [{ label: text.seeLoans, go: `#member/${about}` }] : [],
  });
}

function tooOld(item) {
  if (item.close) return closeMember();
  const code = item.code ?? item.op.code;
  line(item, "look", {
    title: item.op?.title ?? item.code, text: text.old,
    buttons: [
      ...(code ? [{ label: text.scanNow, item: { code } }] : []),
      ...(item.op?.member ? [{ label: text.seeLoans, go: `#member/${item.op.member.id}` }] : []),
    ],
  });
}

function line(item, tone, about) {
  desk.lines.unshift({ id: item.id, tone, scanned: item.at, buttons: [], ...about });
  desk.lines.length = Math.min(desk.lines.length, maxLines);
  say(`${words.tone[tone]}: ${about.title}. ${about.text}`);
  beep(tone);
}

// ---- How the API has these things

// readScan is what a code is, one or several of {user} and {book, copy, loans, ready, readyFor}; loans are those that it may be,
// where it has come back; ready are the holds that a copy is set aside for.
function readScan(data) {
  return (data.matches ?? [data]).map((m) => {
    const ready = (m.holds ?? []).filter((h) => h.status === "ready");
    return {
      user: m.kind === "user" ? m.user : undefined, book: m.book, copy: m.copy, loans: m.loans ?? [],
      ready, readyFor: (id) => ready.some((h) => h.user.id === id),
    };
  });
}

const readMember = (user, overdue, holds) => ({
  id: user.id, name: user.name, card: user.card_number, blocked: user.status === "blocked", reason: user.status_reason,
  onLoan: user.borrowed_books.length, overdue: overdue.length, balance: user.total_fines,
  pickUp: holds.filter((h) => h.status === "ready").map((h) => h.book.title),
});

const readLoan = (loan) => ({ id: loan.id, due: loan.due_date });

const readReturn = (answer) => ({
  loan: answer.id, member: answer.user.id, who: answer.user.name, late: answer.days_overdue, fine: answer.fine, balance: answer.balance,
  hold: answer.set_aside_for && { member: answer.set_aside_for.user.id, name: answer.set_aside_for.user.name, until: answer.set_aside_for.ready_until },
});

// What was under way when the page was left goes on.
for (const item of desk.queue) lookAhead(item);
