"""The routes, called as values: status, headers and bodies of every answer that a client can get."""

import json
import unittest

from tpl_package.api import Api
from tpl_package.storage import Store
from tpl_package.web.message import Request
from tpl_package.web.server import dispatch

TEA = {"sku": "TEA-01", "name": "Green tea", "price_cents": 450, "stock": 3}


class ApiTest(unittest.TestCase):
    """One empty service in memory per test."""

    def setUp(self):
        self.store = Store(":memory:")
        self.addCleanup(self.store.close)
        self.router = Api(self.store).router()

    def call(self, method, path, value=None, query=None, **headers):
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        headers.setdefault("content-type", "application/json")
        body = b"" if value is None else json.dumps(value).encode()
        response = dispatch(self.router, Request(method, path, query or {}, headers, body))
        parsed = json.loads(response.body) if response.body else None
        return response.status, parsed, response.headers

    def test_life_of_one(self):
        status, created, headers = self.call("POST", "/v1/tpl_items", TEA)
        self.assertEqual((status, headers["Location"], headers["ETag"]), (201, "/v1/tpl_items/1", '"1"'))
        self.assertEqual(created, dict(TEA, id=1, version=1))
        self.assertEqual(self.call("GET", "/v1/tpl_items/1")[:2], (200, created))
        status, changed, headers = self.call("PUT", "/v1/tpl_items/1", dict(TEA, stock=9), if_match='"1"')
        self.assertEqual((status, changed["stock"], headers["ETag"]), (200, 9, '"2"'))
        self.assertEqual(self.call("DELETE", "/v1/tpl_items/1", if_match='"2"')[:2], (204, None))
        self.assertEqual(self.call("GET", "/v1/tpl_items/1")[0], 404)

    def test_validation_names_the_fields(self):
        status, body, headers = self.call("POST", "/v1/tpl_items", dict(TEA, sku="no", stock=-1))
        self.assertEqual((status, headers["Content-Type"]), (422, "application/problem+json"))
        self.assertEqual([error["pointer"] for error in body["errors"]], ["/sku", "/stock"])
        self.assertEqual(self.call("GET", "/v1/tpl_items", query={"limit": "0"})[0], 422)

    def test_conflicts(self):
        self.call("POST", "/v1/tpl_items", TEA)
        self.assertEqual(self.call("POST", "/v1/tpl_items", TEA)[0], 409)
        self.assertEqual(self.call("PUT", "/v1/tpl_items/1", TEA)[0], 428)
        status, _, headers = self.call("PUT", "/v1/tpl_items/1", TEA, if_match='"7"')
        self.assertEqual((status, headers["ETag"]), (412, '"1"'))
        self.assertEqual(self.call("DELETE", "/v1/tpl_items/9", if_match="*")[0], 404)

    def test_not_modified(self):
        self.call("POST", "/v1/tpl_items", TEA)
        self.assertEqual(self.call("GET", "/v1/tpl_items/1", if_none_match='"1"')[0], 304)
        self.assertEqual(self.call("GET", "/v1/tpl_items/1", if_none_match='"2"')[0], 200)

    def test_pages_follow_next(self):
        for number in range(5):
            self.call("POST", "/v1/tpl_items", dict(TEA, sku="TEA-{}".format(number)))
        _, first, _ = self.call("GET", "/v1/tpl_items", query={"limit": "2"})
        self.assertEqual([i["id"] for i in first["data"]], [1, 2])
        self.assertEqual(first["next"], "/v1/tpl_items?limit=2&after=2")
        _, last, _ = self.call("GET", "/v1/tpl_items", query={"limit": "2", "after": "4"})
        self.assertEqual(([i["id"] for i in last["data"]], last["next"]), ([5], None))

    def test_orders_are_safe_to_repeat(self):
        self.call("POST", "/v1/tpl_items", TEA)
        order = {"tpl_item_id": 1, "quantity": 2}
        first = self.call("POST", "/v1/orders", order, idempotency_key="order-0001")
        again = self.call("POST", "/v1/orders", order, idempotency_key="order-0001")
        self.assertEqual((first[0], again[0]), (201, 200))
        self.assertEqual(first[1], again[1])
        self.assertEqual(first[1]["total_cents"], 900)
        self.assertEqual(self.call("GET", "/v1/tpl_items/1")[1]["stock"], 1)
        self.assertEqual(self.call("GET", "/v1/orders/1")[1], first[1])

    def test_refused_orders(self):
        self.call("POST", "/v1/tpl_items", TEA)
        order = {"tpl_item_id": 1, "quantity": 4}
        self.assertEqual(self.call("POST", "/v1/orders", order)[0], 422)
        status, body, _ = self.call("POST", "/v1/orders", order, idempotency_key="order-0001")
        self.assertEqual((status, body["detail"]), (409, "only 3 in stock"))
        small = dict(order, quantity=1)
        self.assertEqual(self.call("POST", "/v1/orders", small, idempotency_key="order-0001")[0], 201)
        other = dict(order, quantity=2)
        self.assertEqual(self.call("POST", "/v1/orders", other, idempotency_key="order-0001")[0], 409)
        self.assertEqual(self.call("DELETE", "/v1/tpl_items/1", if_match="*")[0], 409)

    def test_health_and_readiness_differ(self):
        self.assertEqual(self.call("GET", "/healthz")[1]["service"], "tpl-service")
        self.assertEqual(self.call("GET", "/readyz")[0], 200)
        self.store.close()
        self.assertEqual(self.call("GET", "/readyz")[0], 503)
        self.assertEqual(self.call("GET", "/healthz")[0], 200)
