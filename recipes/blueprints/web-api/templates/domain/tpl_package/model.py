"""Domain: tpl_items, orders, and what makes them valid.

Knows no HTTP and no SQL. Everything that comes from outside passes through a `parse_*` function
once; what those return needs no further checks. A parse error names every wrong field, not only
the first.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata

NAME_LENGTH_MAX = 120
PRICE_CENTS_MAX = 100_000_000
STOCK_MAX = 1_000_000
QUANTITY_MAX = 10_000
PAGE_LIMIT_DEFAULT = 20
PAGE_LIMIT_MAX = 100
ID_MAX = 2**53 - 1

_SKU = re.compile(r"[A-Z0-9][A-Z0-9-]{1,31}\Z", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{8,128}\Z")


@dataclasses.dataclass(frozen=True)
class FieldError:
    """One wrong field: where it is (`/sku`) and what is expected there."""

    pointer: str
    detail: str


class Invalid(Exception):
    """Input that cannot be used; carries one error per wrong field."""

    def __init__(self, errors):
        super().__init__("; ".join("{} {}".format(e.pointer, e.detail) for e in errors))
        self.errors = tuple(errors)


@dataclasses.dataclass(frozen=True)
class NewTplItem:
    """A tpl_item as a client gives it."""

    sku: str
    name: str
    price_cents: int
    stock: int


@dataclasses.dataclass(frozen=True)
class TplItem:
    """A tpl_item as it is kept. `version` grows by one with every change."""

    id: int
    sku: str
    name: str
    price_cents: int
    stock: int
    version: int


@dataclasses.dataclass(frozen=True)
class NewOrder:
    """An order as a client gives it."""

    tpl_item_id: int
    quantity: int


@dataclasses.dataclass(frozen=True)
class Order:
    """An order as it is kept. The total is fixed when it is placed."""

    id: int
    tpl_item_id: int
    quantity: int
    total_cents: int


@dataclasses.dataclass(frozen=True)
class Page:
    """A piece of a list: at most `limit` entries with an id greater than `after`."""

    limit: int = PAGE_LIMIT_DEFAULT
    after: int = 0


class _Fields:
    """Reads the fields of one JSON object and gathers what is wrong with them."""

    def __init__(self, data, known):
        self.errors = []
        self.data = data if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            self.errors.append(FieldError("", "must be a JSON object"))
        for name in self.data:
            if name not in known:
                shown = name if len(name) <= 40 and name.isprintable() else name[:40] + "..."
                self.errors.append(FieldError("/" + shown, "is not a known field"))

    def wrong(self, name, detail):
        self.errors.append(FieldError("/" + name, detail))

    def integer(self, name, low, high):
        value = self.data.get(name)
        # bool is an int in Python, and `true` is no quantity.
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(name, "must be a whole number from {} to {}".format(low, high))
            return low
        return value

    def text(self, name, pattern, detail):
        value = self.data.get(name)
        if not isinstance(value, str) or not pattern(value):
            self.wrong(name, detail)
            return ""
        return value

    def finish(self, value):
        if self.errors:
            raise Invalid(self.errors)
        return value


def parse_tpl_item(data):
    """Checks a JSON value that should be a tpl_item; raises Invalid."""
    fields = _Fields(data, {"sku", "name", "price_cents", "stock"})
    tpl_item = NewTplItem(
        sku=fields.text("sku", _SKU.match, "must be 2 to 32 of A-Z, 0-9 and -"),
        name=fields.text(
            "name", _is_name, "must be 1 to {} printable characters".format(NAME_LENGTH_MAX)
        ),
        price_cents=fields.integer("price_cents", 0, PRICE_CENTS_MAX),
        stock=fields.integer("stock", 0, STOCK_MAX),
    )
    return fields.finish(tpl_item)


def parse_order(data):
    """Checks a JSON value that should be an order; raises Invalid."""
    fields = _Fields(data, {"tpl_item_id", "quantity"})
    order = NewOrder(
        tpl_item_id=fields.integer("tpl_item_id", 1, ID_MAX),
        quantity=fields.integer("quantity", 1, QUANTITY_MAX),
    )
    return fields.finish(order)


def parse_page(query):
    """Checks the query parameters `limit` and `after` of a list; raises Invalid."""
    errors = [
        FieldError("?" + name[:40], "is not a known parameter")
        for name in query
        if name not in {"limit", "after"}
    ]
    limit = _query_integer(query, "limit", PAGE_LIMIT_DEFAULT, (1, PAGE_LIMIT_MAX), errors)
    after = _query_integer(query, "after", 0, (0, ID_MAX), errors)
    if errors:
        raise Invalid(errors)
    return Page(limit, after)


def parse_idempotency_key(value):
    """Checks the header of that name; raises Invalid."""
    if value is None or not _KEY.match(value):
        detail = "must be 8 to 128 printable ASCII characters without spaces"
        raise Invalid([FieldError("Idempotency-Key", detail)])
    return value


def _query_integer(query, name, default, bounds, errors):
    if name not in query:
        return default
    text = query[name]
    low, high = bounds
    if not re.fullmatch(r"[0-9]{1,16}", text) or not low <= int(text) <= high:
        errors.append(FieldError("?" + name, "must be a whole number from {} to {}".format(low, high)))
        return default
    return int(text)


def _is_name(text):
    if not 1 <= len(text) <= NAME_LENGTH_MAX or text != text.strip():
        return False
    # Control and format characters, surrogates: a name is shown in logs and on terminals.
    return not any(unicodedata.category(c)[0] == "C" for c in text)
