"""The interface description and the service say the same: routes, limits, fields, answers."""

import dataclasses
import json
import pathlib
import unittest

from tpl_package import __version__, model
from tpl_package.api import Api
from tpl_package.storage import Store
from tpl_package.web.message import Request
from tpl_package.web.server import dispatch

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS = {"get", "put", "post", "delete", "patch"}


class OpenApiTest(unittest.TestCase):
    """The document against the code."""

    @classmethod
    def setUpClass(cls):
        text = (ROOT / "docs" / "openapi.json").read_text(encoding="ascii")
        cls.document = json.loads(text)
        cls.schemas = cls.document["components"]["schemas"]

    def setUp(self):
        self.store = Store(":memory:")
        self.addCleanup(self.store.close)
        self.router = Api(self.store).router()

    def operations(self):
        """Every (method, path, operation) of the document."""
        for path, entry in self.document["paths"].items():
            for method in METHODS.intersection(entry):
                yield method.upper(), path, entry[method]

    def test_version(self):
        self.assertEqual(self.document["info"]["version"], __version__)

    def test_routes_are_the_same(self):
        described = {(method, path) for method, path, _ in self.operations()}
        routed = {(route.method, route.pattern) for route in self.router.routes}
        self.assertEqual(described, routed)

    def test_operations_are_named_after_their_handlers(self):
        named = {(m, p): operation["operationId"] for m, p, operation in self.operations()}
        for route in self.router.routes:
            self.assertEqual(named[route.method, route.pattern], route.handler.__name__)

    def test_fields_are_the_same(self):
        for kind in (model.NewTplItem, model.TplItem, model.NewOrder, model.Order):
            fields = [field.name for field in dataclasses.fields(kind)]
            self.assertEqual(list(self.schemas[kind.__name__]["properties"]), fields)

    def test_limits_are_the_same(self):
        tpl_item = self.schemas["NewTplItem"]["properties"]
        self.assertEqual(tpl_item["name"]["maxLength"], model.NAME_LENGTH_MAX)
        self.assertEqual(tpl_item["price_cents"]["maximum"], model.PRICE_CENTS_MAX)
        self.assertEqual(tpl_item["stock"]["maximum"], model.STOCK_MAX)
        self.assertEqual(self.schemas["NewOrder"]["properties"]["quantity"]["maximum"], model.QUANTITY_MAX)
        listed = self.document["paths"]["/v1/tpl_items"]["get"]["parameters"]
        limit = next(p for p in listed if p["name"] == "limit")["schema"]
        self.assertEqual((limit["maximum"], limit["default"]), (model.PAGE_LIMIT_MAX, model.PAGE_LIMIT_DEFAULT))

    def test_references_lead_somewhere(self):
        def references(value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    if key == "$ref":
                        yield inner
                    yield from references(inner)
            elif isinstance(value, list):
                for inner in value:
                    yield from references(inner)

        for reference in references(self.document):
            target = self.document
            for part in reference.lstrip("#/").split("/"):
                self.assertIn(part, target, reference)
                target = target[part]

    def test_an_empty_request_gets_a_described_answer(self):
        for method, path, operation in self.operations():
            request = Request(method, path.replace("{id}", "1"))
            response = dispatch(self.router, request)
            self.assertIn(str(response.status), operation["responses"], (method, path))
