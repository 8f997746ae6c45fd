"""Validation: every wrong field is named, nothing wrong gets through."""

import unittest

from tpl_package import model

GOOD = {"sku": "TEA-01", "name": "Green tea", "price_cents": 450, "stock": 12}


class TplItemTest(unittest.TestCase):
    """Bodies of tpl_items."""

    def pointers(self, data):
        with self.assertRaises(model.Invalid) as caught:
            model.parse_tpl_item(data)
        return [error.pointer for error in caught.exception.errors]

    def test_good(self):
        self.assertEqual(model.parse_tpl_item(GOOD), model.NewTplItem("TEA-01", "Green tea", 450, 12))

    def test_every_wrong_field_is_named(self):
        bad = {"sku": "tea 1", "name": "", "price_cents": -1, "stock": True, "color": "red"}
        self.assertEqual(self.pointers(bad), ["/color", "/sku", "/name", "/price_cents", "/stock"])

    def test_missing_fields(self):
        self.assertEqual(self.pointers({}), ["/sku", "/name", "/price_cents", "/stock"])

    def test_not_an_object(self):
        for value in (None, [], "x", 3):
            self.assertEqual(self.pointers(value)[0], "")

    def test_wrong_values_one_by_one(self):
        cases = [
            ("sku", 5), ("sku", "A"), ("sku", "A" * 33), ("sku", "TEA\n"), ("sku", "\u0391B"),
            ("name", "x" * 121), ("name", " x"), ("name", "a\x1b[31m"), ("name", "a\u202eb"),
            ("price_cents", 1.5), ("price_cents", "450"), ("price_cents", 10**9),
            ("stock", None), ("stock", -1),
        ]
        for field, value in cases:
            with self.subTest(field=field, value=value):
                self.assertEqual(self.pointers(dict(GOOD, **{field: value})), ["/" + field])


class OrderTest(unittest.TestCase):
    """Bodies of orders and the key that makes them safe to repeat."""

    def test_good(self):
        order = model.parse_order({"tpl_item_id": 3, "quantity": 2})
        self.assertEqual(order, model.NewOrder(3, 2))

    def test_bad(self):
        for data in ({}, {"tpl_item_id": 0, "quantity": 1}, {"tpl_item_id": 1, "quantity": 0}):
            with self.assertRaises(model.Invalid):
                model.parse_order(data)

    def test_idempotency_key(self):
        self.assertEqual(model.parse_idempotency_key("order-0001"), "order-0001")
        for bad in (None, "short", "x" * 129, "with space", "tab\tinside", "line\nbreak"):
            with self.assertRaises(model.Invalid):
                model.parse_idempotency_key(bad)


class PageTest(unittest.TestCase):
    """Query parameters of lists."""

    def test_defaults_and_bounds(self):
        self.assertEqual(model.parse_page({}), model.Page(20, 0))
        self.assertEqual(model.parse_page({"limit": "100", "after": "7"}), model.Page(100, 7))

    def test_bad(self):
        for query in (
            {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": ""},
            {"after": "1e3"}, {"after": "9" * 20}, {"offset": "3"},
        ):
            with self.subTest(query=query), self.assertRaises(model.Invalid):
                model.parse_page(query)
