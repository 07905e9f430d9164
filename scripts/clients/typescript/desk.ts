// Has the generated client work a day at the desk. scripts/clients/run generates it and starts the program.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./library.js";

const client = (key?: string) =>
  createClient<paths>({ baseUrl: process.env.LIBRARY_URL!, headers: key ? { Authorization: `Bearer ${key}` } : {} });
const nobody = client();
const reader = client(process.env.LIBRARY_READER!);
const desk = client(process.env.LIBRARY_DESK!);
const admin = client(process.env.LIBRARY_ADMIN!);

/** What a call was answered with, where it succeeded. */
function made<T>(answer: { data?: T; error?: unknown }): T {
  assert.equal(answer.error, undefined, JSON.stringify(answer.error));
  return answer.data!;
}

/** Compiles only where every code is dealt with. */
function never(code: never): never {
  throw new Error(`no such code: ${code}`);
}

/** What to tell the desk when a book cannot be borrowed. */
function explain(code: components["schemas"]["BorrowBookConflict"]["code"]): string {
  switch (code) {
    case "not_available":
      return "all copies are out";
    case "on_hold":
      return "set aside for others";
    case "already_borrowed":
      return "they have it already";
    case "borrow_limit":
    case "blocked":
    case "fines_owed":
      return "not now";
    case "idempotency_key_in_use":
      return "wait";
    default:
      return never(code);
  }
}

// Who may call.
const unknown = await nobody.GET("/users");
assert.equal(unknown.error?.code, "key_needed");
const forbidden = await reader.GET("/users");
assert.equal(forbidden.response.status, 403);
assert.equal(forbidden.error?.code, "not_allowed");

// A book, which is added once however often it is sent, and two members.
const newBook = { title: "The Left Hand of Darkness", author: "Ursula K. Le Guin", isbn: "978-0-441-47812-5", barcode: "30112044718" };
const once = { header: { "Idempotency-Key": "book-1" } };
const book = made(await desk.POST("/books", { params: once, body: newBook }));
assert.deepEqual(made(await desk.POST("/books", { params: once, body: newBook })), book);
const reused = await desk.POST("/books", { params: once, body: { title: "Another", author: "A" } });
assert.equal(reused.error?.code, "idempotency_key_reused");
const ada = made(await desk.POST("/users", { body: { name: "Ada", email: "ada@example.org", card_number: "2170001" } }));
const bob = made(await desk.POST("/users", { body: { name: "Bob", card_number: "2170002" } }));
const bad = await desk.POST("/users", { body: { name: "", email: "ada" } });
assert.equal(bad.error?.code, "invalid");
assert.deepEqual(bad.error.errors?.map((e) => e.location), ["body.email", "body.name"]);

// Borrowing, and a refusal that says why.
const borrow = (user_id: number) => ({ params: { path: { book_id: book.id, user_id } } });
const lent = made(await desk.POST("/books/{book_id}/borrow/{user_id}", borrow(ada.id)));
assert.equal(lent.borrowed_by_id, ada.id);
const refused = await desk.POST("/books/{book_id}/borrow/{user_id}", borrow(bob.id));
assert.equal(refused.response.status, 409);
assert.equal(explain((refused.error as components["schemas"]["BorrowBookConflict"]).code), "all copies are out");
assert.equal(refused.error?.reasons?.[0]?.code, "not_available");
made(await desk.POST("/books/{book_id}/renew/{user_id}", borrow(ada.id)));

// A hold, which forbids a further renewal.
const hold = made(await desk.POST("/books/{book_id}/holds/{user_id}", borrow(bob.id)));
assert.equal(hold.position, 1);
const onHold = await desk.POST("/books/{book_id}/renew/{user_id}", { params: { ...borrow(ada.id).params, query: { dry_run: true } } });
assert.equal(onHold.error?.code, "on_hold");

// The scanner, the return, and the loan to whom it is set aside for.
const scan = made(await desk.GET("/scan", { params: { query: { code: "30112044718" } } }));
assert.equal(scan.kind, "copy");
assert.equal(scan.user, null);
assert.equal(scan.loans[0]?.opened_by?.name, "A desk");
assert.equal(scan.loans[0].closed_by, null);
const back = made(await desk.POST("/returns", { body: { barcode: "30112044718" } }));
assert.equal(back.set_aside_for?.user.id, bob.id);
const loan = await desk.POST("/loans", { body: { card_number: "2170002", barcode: "30112044718" } });
assert.equal(loan.response.headers.get("Location"), `/loans/${made(loan).id}`);

// All pages of a list.
for (let i = 0; i < 6; i++) made(await desk.POST("/books", { body: { title: `Volume ${i}`, author: "A" } }));
const pageAfter = (cursor: string) => reader.GET("/books", { params: { query: { limit: 3, cursor } } });
const titles: string[] = [];
let pages = 0;
for (let cursor: string | null = ""; cursor !== null; pages++) {
  const page: Awaited<ReturnType<typeof pageAfter>> = await pageAfter(cursor);
  titles.push(...made(page).map((b) => b.title));
  cursor = page.response.headers.get("Next-Cursor");
}
assert.deepEqual([titles.length, pages], [7, 3]);

// What GET gave goes back by PUT, unless somebody was quicker.
const path = { book_id: book.id };
const got = await desk.GET("/books/{book_id}", { params: { path } });
const ifMatch = { path, header: { "If-Match": got.response.headers.get("ETag")! } };
assert.deepEqual(made(await desk.PUT("/books/{book_id}", { params: ifMatch, body: made(got) })), made(got));
made(await desk.PATCH("/books/{book_id}", { params: { path }, body: { category: "Fiction", language: null } }));
const changed = await desk.PUT("/books/{book_id}", { params: ifMatch, body: made(got) });
assert.equal(changed.response.status, 412);
assert.equal(changed.error?.code, "precondition_failed");
const user = made(await desk.GET("/users/{user_id}", { params: { path: { user_id: bob.id } } }));
assert.equal(user.borrowed_books.length, 1);
assert.deepEqual(made(await desk.PUT("/users/{user_id}", { params: { path: { user_id: bob.id } }, body: user })), user);

// Money, keys, files, and what is not there.
const adas = { params: { path: { user_id: ada.id } } };
made(await admin.POST("/users/{user_id}/charges", { ...adas, body: { amount: 3, reason: "Lost" } }));
const tooMuch = await desk.POST("/users/{user_id}/payments", { ...adas, body: { amount: 4 } });
assert.equal(tooMuch.error?.code, "exceeds_balance");
assert.equal(made(await desk.POST("/users/{user_id}/payments", { ...adas, body: { amount: 3 } })).balance, 0);
assert.equal(made(await desk.GET("/users/{user_id}/account", adas)).lines.length, 2);
const key = made(await admin.POST("/keys", { body: { name: "A machine", role: "reader" } }));
assert.equal((await admin.DELETE("/keys/{key_id}", { params: { path: { key_id: key.id } } })).response.status, 204);
const missing = await desk.GET("/books/{book_id}", { params: { path: { book_id: 999 } } });
assert.equal(missing.error?.code, "book_not_found");
const onLoan = await admin.DELETE("/books/{book_id}", { params: { path } });
assert.equal(onLoan.error?.code, "has_open_loans");
const file = await desk.GET("/export/books.csv", { parseAs: "text" });
assert.match(made(file), /The Left Hand of Darkness/);
assert.equal(made(await desk.GET("/stats")).open_loans, 1);

console.log("typescript: a day at the desk, done");
