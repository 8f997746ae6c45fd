"""The routes of the service: HTTP on one side, domain and storage on the other.

Each handler parses, calls the store once and words the answer. Refusals of the store become
problems here and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses

from . import __version__, model, storage
from .web.message import Response, json_response
from .web.precondition import entity_tag, required_version
from .web.problem import Problem
from .web.routing import Router


class Api:
    """Handlers over one store."""

    def __init__(self, store):
        self._store = store

    def router(self):
        """The table of all routes."""
        router = Router()
        router.add("GET", "/healthz", self.health)
        router.add("GET", "/readyz", self.readiness)
        router.add("GET", "/v1/tpl_items", self.list_tpl_items)
        router.add("POST", "/v1/tpl_items", self.create_tpl_item)
        router.add("GET", "/v1/tpl_items/{id}", self.get_tpl_item)
        router.add("PUT", "/v1/tpl_items/{id}", self.update_tpl_item)
        router.add("DELETE", "/v1/tpl_items/{id}", self.delete_tpl_item)
        router.add("POST", "/v1/orders", self.place_order)
        router.add("GET", "/v1/orders/{id}", self.get_order)
        return router

    def health(self, _request):
        """The process is alive; says nothing about what it needs."""
        return json_response(200, {"status": "ok", "service": "tpl-service", "version": __version__})

    def readiness(self, _request):
        """Requests can be answered now."""
        if not self._store.ready():
            raise Problem(503, "the database does not answer")
        return json_response(200, {"status": "ready"})

    def list_tpl_items(self, request):
        """A page of tpl_items, and where the next one starts."""
        with problems():
            page = model.parse_page(request.query)
            tpl_items, more = self._store.list_tpl_items(page)
        following = None
        if more:
            following = "/v1/tpl_items?limit={}&after={}".format(page.limit, tpl_items[-1].id)
        return json_response(200, {"data": [dataclasses.asdict(i) for i in tpl_items], "next": following})

    def create_tpl_item(self, request):
        """Adds a tpl_item."""
        with problems():
            tpl_item = self._store.create_tpl_item(model.parse_tpl_item(request.json()))
        location = "/v1/tpl_items/{}".format(tpl_item.id)
        return tpl_item_response(201, tpl_item, {"Location": location})

    def get_tpl_item(self, request):
        """One tpl_item with its entity tag."""
        with problems():
            tpl_item = self._store.get_tpl_item(request.params["id"])
        if request.headers.get("if-none-match") == entity_tag(tpl_item.version):
            return Response(304, b"", {"ETag": entity_tag(tpl_item.version)})
        return tpl_item_response(200, tpl_item)

    def update_tpl_item(self, request):
        """Replaces a tpl_item that the client has seen in its current version."""
        version = required_version(request)
        with problems():
            new = model.parse_tpl_item(request.json())
            tpl_item = self._store.update_tpl_item(request.params["id"], new, version)
        return tpl_item_response(200, tpl_item)

    def delete_tpl_item(self, request):
        """Removes a tpl_item that the client has seen in its current version."""
        version = required_version(request)
        with problems():
            self._store.delete_tpl_item(request.params["id"], version)
        return Response(204)

    def place_order(self, request):
        """Takes an order, once per Idempotency-Key: a repeat gets the first answer with status 200."""
        with problems():
            key = model.parse_idempotency_key(request.headers.get("idempotency-key"))
            order, is_new = self._store.place_order(model.parse_order(request.json()), key)
        headers = {"Location": "/v1/orders/{}".format(order.id)}
        return json_response(201 if is_new else 200, dataclasses.asdict(order), headers)

    def get_order(self, request):
        """One order."""
        with problems():
            order = self._store.get_order(request.params["id"])
        return json_response(200, dataclasses.asdict(order))


def tpl_item_response(status, tpl_item, headers=None):
    """A tpl_item with its entity tag."""
    tag = {"ETag": entity_tag(tpl_item.version)}
    return json_response(status, dataclasses.asdict(tpl_item), {**tag, **(headers or {})})


@contextlib.contextmanager
def problems():
    """Words what domain and storage refuse."""
    try:
        yield
    except model.Invalid as error:
        pairs = [(e.pointer, e.detail) for e in error.errors]
        raise Problem(422, "the request has {} wrong field(s)".format(len(pairs)), pairs) from error
    except storage.NotFound as error:
        raise Problem(404, "there is nothing with this id") from error
    except storage.SkuTaken as error:
        raise Problem(409, "another tpl_item has this sku") from error
    except storage.VersionConflict as error:
        raise Problem(
            412, "it was changed since you read it", headers={"ETag": entity_tag(error.current)}
        ) from error
    except storage.InUse as error:
        raise Problem(409, "orders refer to this tpl_item") from error
    except storage.OutOfStock as error:
        raise Problem(409, "only {} in stock".format(error.available)) from error
    except storage.KeyReused as error:
        raise Problem(409, "this Idempotency-Key belongs to a different order") from error
