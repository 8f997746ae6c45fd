"""Storage: the only place that knows SQL.

One connection, used under one lock: SQLite has one writer anyway, and a request here takes well
under a millisecond. Each public method is one transaction. What the domain must know about a
refusal is an exception of this module.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

from . import schema
from .model import Order, TplItem

BUSY_SECONDS = 5
_TPL_ITEM = "id, sku, name, price_cents, stock, version"
_ORDER = "id, tpl_item_id, quantity, total_cents"


class NotFound(Exception):
    """There is no such row."""


class SkuTaken(Exception):
    """Another tpl_item has this sku."""


class VersionConflict(Exception):
    """The tpl_item was changed since the client saw it."""

    def __init__(self, current):
        super().__init__("current version is {}".format(current))
        self.current = current


class InUse(Exception):
    """Orders refer to the tpl_item."""


class OutOfStock(Exception):
    """There is less in stock than was ordered."""

    def __init__(self, available):
        super().__init__("{} available".format(available))
        self.available = available


class KeyReused(Exception):
    """The idempotency key belongs to a different order."""


class Store:
    """All that the service remembers."""

    def __init__(self, path):
        if path != ":memory:":
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self.changes_made = schema.migrate(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def close(self):
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def ready(self):
        """Whether the database answers."""
        try:
            with self._transaction() as connection:
                connection.execute("SELECT count(*) FROM tpl_items LIMIT 1").fetchone()
        except sqlite3.Error:
            return False
        return True

    def create_tpl_item(self, new):
        """Adds a tpl_item; raises SkuTaken."""
        with self._transaction() as connection:
            try:
                cursor = connection.execute(
                    "INSERT INTO tpl_items (sku, name, price_cents, stock) VALUES (?, ?, ?, ?)",
                    (new.sku, new.name, new.price_cents, new.stock),
                )
            except sqlite3.IntegrityError as error:
                raise SkuTaken(new.sku) from error
            return _tpl_item(connection, cursor.lastrowid)

    def get_tpl_item(self, tpl_item_id):
        """One tpl_item; raises NotFound."""
        with self._transaction() as connection:
            return _tpl_item(connection, tpl_item_id)

    def list_tpl_items(self, page):
        """At most `page.limit` tpl_items after `page.after` by id, and whether there are more."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT {} FROM tpl_items WHERE id > ? ORDER BY id LIMIT ?".format(_TPL_ITEM),
                (page.after, page.limit + 1),
            ).fetchall()
        return [TplItem(*row) for row in rows[: page.limit]], len(rows) > page.limit

    def update_tpl_item(self, tpl_item_id, new, version):
        """Replaces a tpl_item that is at `version` (None: any); raises NotFound, VersionConflict, SkuTaken."""
        with self._transaction() as connection:
            _check_version(_tpl_item(connection, tpl_item_id), version)
            try:
                connection.execute(
                    "UPDATE tpl_items SET sku = ?, name = ?, price_cents = ?, stock = ?, version = version + 1"
                    " WHERE id = ?",
                    (new.sku, new.name, new.price_cents, new.stock, tpl_item_id),
                )
            except sqlite3.IntegrityError as error:
                raise SkuTaken(new.sku) from error
            return _tpl_item(connection, tpl_item_id)

    def delete_tpl_item(self, tpl_item_id, version):
        """Removes a tpl_item that is at `version` (None: any); raises NotFound, VersionConflict, InUse."""
        with self._transaction() as connection:
            _check_version(_tpl_item(connection, tpl_item_id), version)
            try:
                connection.execute("DELETE FROM tpl_items WHERE id = ?", (tpl_item_id,))
            except sqlite3.IntegrityError as error:
                raise InUse(tpl_item_id) from error

    def place_order(self, new, key):
        """Takes an order out of the stock, once per key: the order, and whether it is new.

        Raises NotFound, OutOfStock, KeyReused.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT {} FROM orders WHERE idempotency_key = ?".format(_ORDER), (key,)
            ).fetchone()
            if row:
                earlier = Order(*row)
                if (earlier.tpl_item_id, earlier.quantity) != (new.tpl_item_id, new.quantity):
                    raise KeyReused(key)
                return earlier, False
            tpl_item = _tpl_item(connection, new.tpl_item_id)
            if tpl_item.stock < new.quantity:
                raise OutOfStock(tpl_item.stock)
            connection.execute(
                "UPDATE tpl_items SET stock = stock - ?, version = version + 1 WHERE id = ?",
                (new.quantity, new.tpl_item_id),
            )
            total = new.quantity * tpl_item.price_cents
            cursor = connection.execute(
                "INSERT INTO orders (tpl_item_id, quantity, total_cents, idempotency_key) VALUES (?, ?, ?, ?)",
                (new.tpl_item_id, new.quantity, total, key),
            )
            return Order(cursor.lastrowid, new.tpl_item_id, new.quantity, total), True

    def get_order(self, order_id):
        """One order; raises NotFound."""
        with self._transaction() as connection:
            row = connection.execute("SELECT {} FROM orders WHERE id = ?".format(_ORDER), (order_id,)).fetchone()
        if not row:
            raise NotFound(order_id)
        return Order(*row)

    @contextlib.contextmanager
    def _transaction(self):
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _tpl_item(connection, tpl_item_id):
    select = "SELECT {} FROM tpl_items WHERE id = ?".format(_TPL_ITEM)
    row = connection.execute(select, (tpl_item_id,)).fetchone()
    if not row:
        raise NotFound(tpl_item_id)
    return TplItem(*row)


def _check_version(tpl_item, version):
    if version is not None and tpl_item.version != version:
        raise VersionConflict(tpl_item.version)
