"""Schema of the database as an append-only list of changes.

A change that was released is never edited; a new one goes to the end. `PRAGMA user_version` says
how many of them a file has seen. A file from a newer version of the service is refused and left
as it is.
"""

from __future__ import annotations

CHANGES = (
    # 1: what is kept
    """
    CREATE TABLE tpl_items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sku TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        price_cents INTEGER NOT NULL CHECK (price_cents >= 0),
        stock INTEGER NOT NULL CHECK (stock >= 0),
        version INTEGER NOT NULL DEFAULT 1
    );
    """,
    # 2: orders; the key makes a repeated request find the first answer
    """
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tpl_item_id INTEGER NOT NULL REFERENCES tpl_items (id) ON DELETE RESTRICT,
        quantity INTEGER NOT NULL CHECK (quantity > 0),
        total_cents INTEGER NOT NULL CHECK (total_cents >= 0),
        idempotency_key TEXT NOT NULL UNIQUE
    );
    CREATE INDEX orders_by_tpl_item ON orders (tpl_item_id);
    """,
)


class SchemaTooNew(Exception):
    """The file was written by a newer version of the service."""

    def __init__(self, found, known):
        super().__init__("database has schema {}, this version knows {}".format(found, known))
        self.found = found
        self.known = known


def migrate(connection, changes=CHANGES):
    """Brings a database up to date, one transaction per change; returns how many were made."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > len(changes):
        raise SchemaTooNew(found, len(changes))
    for number, change in enumerate(changes[found:], found + 1):
        # executescript commits what is open, so the script brings its own transaction.
        connection.executescript("BEGIN IMMEDIATE; {} PRAGMA user_version = {}; COMMIT;".format(change, number))
    return len(changes) - found
