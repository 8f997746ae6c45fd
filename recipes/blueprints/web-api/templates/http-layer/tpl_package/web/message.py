"""Requests and responses as values, so that handlers are tested without a socket."""

from __future__ import annotations

import dataclasses
import json

from .problem import Problem


@dataclasses.dataclass(frozen=True)
class Request:
    """What a handler sees. Header names are lower case."""

    method: str
    path: str
    query: dict = dataclasses.field(default_factory=dict)
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    params: dict = dataclasses.field(default_factory=dict)

    def json(self):
        """The body as a JSON value; raises Problem 400 or 415."""
        kind = self.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, "the body must be application/json")
        try:
            return json.loads(self.body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Problem(400, "the body is not valid JSON") from error


@dataclasses.dataclass(frozen=True)
class Response:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)


def json_response(status, value, headers=None):
    """A response with a JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})


def problem_response(problem, path):
    """A response with a problem body, as RFC 9457 has it."""
    value = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
    }
    if problem.errors:
        value["errors"] = [{"pointer": pointer, "detail": text} for pointer, text in problem.errors]
    body = json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    return Response(problem.status, body, headers)


def _refuse_constant(name):
    raise ValueError("{} is not JSON".format(name))
