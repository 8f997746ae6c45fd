"""Routing: method and path pattern to handler."""

from __future__ import annotations

import dataclasses
import re
import typing

from .problem import Problem

_PARAM = re.compile(r"\{([a-z_]+)\}")


@dataclasses.dataclass(frozen=True)
class Route:
    """One entry of the table. `pattern` is as in the OpenAPI document: `/v1/things/{id}`."""

    method: str
    pattern: str
    handler: typing.Callable


class Router:
    """The table of routes. A parameter matches one path segment of 1 to 16 digits: all ids here are numbers."""

    def __init__(self):
        self.routes = []
        self._compiled = []

    def add(self, method, pattern, handler):
        """Adds a route; the same method and pattern twice is a fault of the caller."""
        if any((r.method, r.pattern) == (method, pattern) for r in self.routes):
            raise ValueError("{} {} is routed twice".format(method, pattern))
        route = Route(method, pattern, handler)
        parts = _PARAM.split(pattern)
        literal = [re.escape(part) for part in parts[::2]]
        named = ["(?P<{}>[0-9]{{1,16}})".format(name) for name in parts[1::2]]
        regex = "".join(a + b for a, b in zip(literal, named + [""]))
        self.routes.append(route)
        self._compiled.append((re.compile(regex + r"\Z"), route))

    def match(self, method, path):
        """The handler and its parameters; raises Problem 404 or 405. HEAD is answered like GET."""
        wanted = "GET" if method == "HEAD" else method
        allowed = set()
        for regex, route in self._compiled:
            found = regex.match(path)
            if not found:
                continue
            if route.method == wanted:
                return route.handler, {name: int(v) for name, v in found.groupdict().items()}
            allowed.add(route.method)
        if not allowed:
            raise Problem(404, "there is nothing at this path")
        if "GET" in allowed:
            allowed.add("HEAD")
        allow = ", ".join(sorted(allowed))
        raise Problem(405, "this path allows {}".format(allow), headers={"Allow": allow})
