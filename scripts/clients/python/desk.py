"""Has the generated client work a day at the desk. scripts/clients/run generates it and starts the program."""

import os

from library_client import AuthenticatedClient, Client
from library_client.api.accounts import add_charge, add_payment, get_account
from library_client.api.books import create_book, delete_book, get_book, list_books, replace_book, update_book
from library_client.api.holds import place_hold
from library_client.api.keys import create_key, revoke_key
from library_client.api.loans import borrow_book, create_loan, create_return, renew_book, scan_code
from library_client.api.reports import export_books, get_stats
from library_client.api.users import create_user, get_user, list_users, replace_user
from library_client.models import (
    AddPaymentConflictCode,
    BookInput,
    BookPatch,
    BorrowBookConflictCode,
    DeleteBookConflictCode,
    ForbiddenCode,
    GetBookNotFoundCode,
    KeyInput,
    KeyInputRole,
    NewLoan,
    NewReturn,
    PaymentInput,
    PreconditionFailedCode,
    ReasonCode,
    ReasonedInput,
    RenewBookConflictCode,
    ScanResultKind,
    UnauthorizedCode,
    UnprocessableEntityCode,
    UserInput,
)

URL = os.environ["LIBRARY_URL"]
nobody = Client(base_url=URL)
reader, desk, admin = (AuthenticatedClient(base_url=URL, token=os.environ["LIBRARY_" + role]) for role in ("READER", "DESK", "ADMIN"))


def done(answer, status):
    assert answer.status_code == status, answer
    return answer.parsed


# Who may call.
assert done(list_users.sync_detailed(client=nobody), 401).code == UnauthorizedCode.KEY_NEEDED
assert done(list_users.sync_detailed(client=reader), 403).code == ForbiddenCode.NOT_ALLOWED

# A book, which is added once however often it is sent, and two members.
new_book = BookInput(title="The Left Hand of Darkness", author="Ursula K. Le Guin", isbn="978-0-441-47812-5", barcode="30112044718")
book = done(create_book.sync_detailed(client=desk, body=new_book, idempotency_key="book-1"), 201)
assert done(create_book.sync_detailed(client=desk, body=new_book, idempotency_key="book-1"), 201) == book
other = create_book.sync_detailed(client=desk, body=BookInput(title="Another", author="A"), idempotency_key="book-1")
assert done(other, 422).code == UnprocessableEntityCode.IDEMPOTENCY_KEY_REUSED
ada = done(create_user.sync_detailed(client=desk, body=UserInput(name="Ada", email="ada@example.org", card_number="2170001")), 201)
bob = done(create_user.sync_detailed(client=desk, body=UserInput(name="Bob", card_number="2170002")), 201)
bad = done(create_user.sync_detailed(client=desk, body=UserInput(name="", email="ada")), 422)
assert bad.code == UnprocessableEntityCode.INVALID and [e.location for e in bad.errors] == ["body.email", "body.name"]

# Borrowing, and a refusal that says why.
lent = done(borrow_book.sync_detailed(book.id, ada.id, client=desk, idempotency_key="loan-1"), 200)
assert lent.borrowed_by_id == ada.id and lent.due_date
refused = done(borrow_book.sync_detailed(book.id, bob.id, client=desk), 409)
match refused.code:
    case BorrowBookConflictCode.NOT_AVAILABLE:
        assert refused.reasons[0].code == ReasonCode.NOT_AVAILABLE
    case code:
        raise AssertionError(code)
done(renew_book.sync_detailed(book.id, ada.id, client=desk), 200)

# A hold, which forbids a further renewal.
assert done(place_hold.sync_detailed(book.id, bob.id, client=desk), 201).position == 1
assert done(renew_book.sync_detailed(book.id, ada.id, client=desk, dry_run=True), 409).code == RenewBookConflictCode.ON_HOLD

# The scanner, the return, and the loan to whom it is set aside for.
scan = done(scan_code.sync_detailed(client=desk, code="30112044718"), 200)
assert scan.kind == ScanResultKind.COPY and scan.user is None and len(scan.holds) == 1
assert scan.loans[0].opened_by.name == "A desk" and scan.loans[0].closed_by is None
back = done(create_return.sync_detailed(client=desk, body=NewReturn(barcode="30112044718")), 200)
assert back.user.id == ada.id and back.set_aside_for.user.id == bob.id
loan = create_loan.sync_detailed(client=desk, body=NewLoan(card_number="2170002", barcode="30112044718"))
assert loan.headers["Location"] == f"/loans/{done(loan, 201).id}"

# All pages of a list.
for i in range(6):
    done(create_book.sync_detailed(client=desk, body=BookInput(title=f"Volume {i}", author="A")), 201)
titles, pages, cursor = [], 0, ""
while cursor is not None:
    page = list_books.sync_detailed(client=reader, limit=3, cursor=cursor)
    titles += [b.title for b in done(page, 200)]
    pages, cursor = pages + 1, page.headers.get("Next-Cursor")
assert (len(titles), pages) == (7, 3)

# What GET gave goes back by PUT, unless somebody was quicker.
got = get_book.sync_detailed(book.id, client=desk)
put, tag = BookInput.from_dict(done(got, 200).to_dict()), got.headers["ETag"]
assert done(replace_book.sync_detailed(book.id, client=desk, body=put, if_match=tag), 200) == got.parsed
done(update_book.sync_detailed(book.id, client=desk, body=BookPatch(category="Fiction", language=None)), 200)
changed = done(replace_book.sync_detailed(book.id, client=desk, body=put, if_match=tag), 412)
assert changed.code == PreconditionFailedCode.PRECONDITION_FAILED
user = done(get_user.sync_detailed(bob.id, client=desk), 200)
assert done(replace_user.sync_detailed(bob.id, client=desk, body=UserInput.from_dict(user.to_dict())), 200) == user

# Money, keys, files, and what is not there.
done(add_charge.sync_detailed(ada.id, client=admin, body=ReasonedInput(amount=3, reason="Lost")), 201)
assert done(add_payment.sync_detailed(ada.id, client=desk, body=PaymentInput(amount=4)), 409).code == AddPaymentConflictCode.EXCEEDS_BALANCE
assert done(add_payment.sync_detailed(ada.id, client=desk, body=PaymentInput(amount=3)), 201).balance == 0
assert len(done(get_account.sync_detailed(ada.id, client=desk), 200).lines) == 2
key = done(create_key.sync_detailed(client=admin, body=KeyInput(name="A machine", role=KeyInputRole.READER)), 201)
done(revoke_key.sync_detailed(key.id, client=admin), 204)
assert done(get_book.sync_detailed(999, client=desk), 404).code == GetBookNotFoundCode.BOOK_NOT_FOUND
assert done(delete_book.sync_detailed(book.id, client=admin), 409).code == DeleteBookConflictCode.HAS_OPEN_LOANS
assert "The Left Hand of Darkness" in done(export_books.sync_detailed(client=desk), 200)
assert done(get_stats.sync_detailed(client=desk), 200).open_loans == 1

print("python: a day at the desk, done")
