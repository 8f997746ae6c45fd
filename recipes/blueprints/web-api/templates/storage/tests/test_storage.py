"""Storage: every refusal leaves the data as it was; files of older and newer versions."""

import os
import sqlite3
import tempfile
import threading
import unittest

from tpl_package import schema, storage
from tpl_package.model import NewOrder, NewTplItem, Page

TEA = NewTplItem("TEA-01", "Green tea", 450, 3)


class StoreTest(unittest.TestCase):
    """One empty database in memory per test."""

    def setUp(self):
        self.store = storage.Store(":memory:")
        self.addCleanup(self.store.close)

    def test_create_and_get(self):
        tea = self.store.create_tpl_item(TEA)
        self.assertEqual((tea.id, tea.sku, tea.version), (1, "TEA-01", 1))
        self.assertEqual(self.store.get_tpl_item(1), tea)
        with self.assertRaises(storage.NotFound):
            self.store.get_tpl_item(2)
        with self.assertRaises(storage.SkuTaken):
            self.store.create_tpl_item(TEA)

    def test_pages_cover_all_without_repeats(self):
        for number in range(7):
            self.store.create_tpl_item(NewTplItem("X-{}".format(number), "x", 1, 0))
        seen, after, more = [], 0, True
        while more:
            rows, more = self.store.list_tpl_items(Page(3, after))
            seen += [row.id for row in rows]
            after = seen[-1]
        self.assertEqual(seen, [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(self.store.list_tpl_items(Page(3, 7)), ([], False))

    def test_update_needs_the_current_version(self):
        self.store.create_tpl_item(TEA)
        changed = self.store.update_tpl_item(1, NewTplItem("TEA-02", "Black tea", 500, 9), 1)
        self.assertEqual((changed.sku, changed.stock, changed.version), ("TEA-02", 9, 2))
        with self.assertRaises(storage.VersionConflict) as caught:
            self.store.update_tpl_item(1, TEA, 1)
        self.assertEqual(caught.exception.current, 2)
        self.assertEqual(self.store.update_tpl_item(1, TEA, None).version, 3)

    def test_update_to_a_taken_sku_changes_nothing(self):
        self.store.create_tpl_item(TEA)
        other = self.store.create_tpl_item(NewTplItem("MUG-01", "Mug", 900, 1))
        with self.assertRaises(storage.SkuTaken):
            self.store.update_tpl_item(other.id, TEA, other.version)
        self.assertEqual(self.store.get_tpl_item(other.id), other)

    def test_delete(self):
        self.store.create_tpl_item(TEA)
        with self.assertRaises(storage.VersionConflict):
            self.store.delete_tpl_item(1, 9)
        self.store.delete_tpl_item(1, 1)
        with self.assertRaises(storage.NotFound):
            self.store.delete_tpl_item(1, None)

    def test_order_takes_stock_once_per_key(self):
        self.store.create_tpl_item(TEA)
        order, is_new = self.store.place_order(NewOrder(1, 2), "key-00001")
        self.assertEqual((order.total_cents, is_new), (900, True))
        self.assertEqual(self.store.place_order(NewOrder(1, 2), "key-00001"), (order, False))
        self.assertEqual(self.store.get_tpl_item(1).stock, 1)
        self.assertEqual(self.store.get_order(order.id), order)
        with self.assertRaises(storage.KeyReused):
            self.store.place_order(NewOrder(1, 1), "key-00001")
        with self.assertRaises(storage.InUse):
            self.store.delete_tpl_item(1, None)

    def test_refused_order_changes_nothing(self):
        self.store.create_tpl_item(TEA)
        with self.assertRaises(storage.OutOfStock) as caught:
            self.store.place_order(NewOrder(1, 4), "key-00001")
        self.assertEqual(caught.exception.available, 3)
        with self.assertRaises(storage.NotFound):
            self.store.place_order(NewOrder(9, 1), "key-00002")
        self.assertEqual(self.store.get_tpl_item(1).stock, 3)
        with self.assertRaises(storage.NotFound):
            self.store.get_order(1)

    def test_threads_cannot_sell_the_same_thing_twice(self):
        self.store.create_tpl_item(TEA)
        sold = []

        def buy(number):
            try:
                sold.append(self.store.place_order(NewOrder(1, 1), "key-{:05}".format(number)))
            except storage.OutOfStock:
                pass

        threads = [threading.Thread(target=buy, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(sold), self.store.get_tpl_item(1).stock), (3, 0))


class SchemaTest(unittest.TestCase):
    """Files on disk, of this version and of others."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "sub", "data.sqlite3")

    def open(self):
        store = storage.Store(self.path)
        self.addCleanup(store.close)
        return store

    def test_data_survives_and_nothing_is_migrated_twice(self):
        first = self.open()
        self.assertEqual(first.changes_made, len(schema.CHANGES))
        first.create_tpl_item(TEA)
        first.close()
        second = self.open()
        self.assertEqual(second.changes_made, 0)
        self.assertEqual(second.get_tpl_item(1).sku, "TEA-01")
        self.assertTrue(second.ready())
        second.close()
        self.assertFalse(second.ready())

    def test_older_file_is_brought_up_to_date(self):
        os.makedirs(os.path.dirname(self.path))
        old = sqlite3.connect(self.path, isolation_level=None)
        schema.migrate(old, schema.CHANGES[:1])
        old.execute("INSERT INTO tpl_items (sku, name, price_cents, stock) VALUES ('A1', 'a', 1, 1)")
        old.close()
        store = self.open()
        self.assertEqual(store.changes_made, len(schema.CHANGES) - 1)
        self.assertEqual(store.place_order(NewOrder(1, 1), "key-00001")[0].id, 1)

    def test_newer_file_is_refused_untouched(self):
        self.open().close()
        newer = sqlite3.connect(self.path, isolation_level=None)
        newer.execute("PRAGMA user_version = 99")
        newer.close()
        with self.assertRaises(schema.SchemaTooNew):
            storage.Store(self.path)
        check = sqlite3.connect(self.path)
        self.assertEqual(check.execute("PRAGMA user_version").fetchone(), (99,))
        check.close()

    def test_failed_change_leaves_the_version_before_it(self):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        with self.assertRaises(sqlite3.OperationalError):
            schema.migrate(connection, schema.CHANGES[:1] + ("CREATE TABLE x (y); broken;",))
        connection.rollback()
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'x'").fetchall()
        self.assertEqual((connection.execute("PRAGMA user_version").fetchone(), tables), ((1,), []))
        connection.close()
