"""The HTTP layer: routing, messages and preconditions as values, then the server over a real socket."""

import http.client
import io
import json
import logging
import socket
import threading
import unittest

from tpl_package.web.message import Request, json_response
from tpl_package.web.precondition import entity_tag, required_version
from tpl_package.web.problem import Problem
from tpl_package.web.routing import Router
from tpl_package.web.server import BODY_BYTES_MAX, Server, dispatch


def quiet_log():
    """A logger of its own that writes into memory."""
    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(io.StringIO()))
    return log


def thing_router():
    """A router with one of everything."""
    router = Router()
    router.add("GET", "/v1/things", lambda request: json_response(200, dict(request.query)))
    router.add("POST", "/v1/things", lambda request: json_response(201, request.json()))
    router.add("GET", "/v1/things/{id}", lambda request: json_response(200, request.params))
    router.add("DELETE", "/v1/things/{id}", lambda request: 1 / 0)
    return router


class RoutingTest(unittest.TestCase):
    """The table of routes."""

    def status(self, method, path, **fields):
        return dispatch(thing_router(), Request(method, path, **fields)).status

    def test_match(self):
        _, params = thing_router().match("GET", "/v1/things/42")
        self.assertEqual(params, {"id": 42})
        self.assertEqual(self.status("HEAD", "/v1/things"), 200)

    def test_nothing_there(self):
        for path in ("/", "/v1/things/", "/v1/things/x", "/v1/things/1/2", "/v1/things/" + "1" * 17, "/V1/things"):
            self.assertEqual(self.status("GET", path), 404, path)

    def test_wrong_method_says_which_are_right(self):
        response = dispatch(thing_router(), Request("PATCH", "/v1/things/1"))
        self.assertEqual((response.status, response.headers["Allow"]), (405, "DELETE, GET, HEAD"))

    def test_twice_is_a_fault(self):
        router = thing_router()
        with self.assertRaises(ValueError):
            router.add("GET", "/v1/things", None)


class MessageTest(unittest.TestCase):
    """Bodies."""

    def test_json_bodies(self):
        def status(body, kind="application/json"):
            request = Request("POST", "/v1/things", headers={"content-type": kind}, body=body)
            return dispatch(thing_router(), request).status

        self.assertEqual(status(b'{"a":1}'), 201)
        self.assertEqual(status(b"{}", "application/json; charset=utf-8"), 201)
        self.assertEqual(status(b"{}", "text/plain"), 415)
        for body in (b"", b"{", b"\xff", b"NaN", b"[" * 60000):
            self.assertEqual(status(body), 400, body[:10])

    def test_problem_body(self):
        response = dispatch(thing_router(), Request("GET", "/nothing"))
        body = json.loads(response.body)
        self.assertEqual(response.headers["Content-Type"], "application/problem+json")
        self.assertEqual((body["status"], body["title"], body["instance"]), (404, "Not Found", "/nothing"))


class PreconditionTest(unittest.TestCase):
    """If-Match."""

    def version(self, value):
        headers = {} if value is None else {"if-match": value}
        try:
            return required_version(Request("PUT", "/", headers=headers))
        except Problem as problem:
            return "problem {}".format(problem.status)

    def test_forms(self):
        self.assertEqual(self.version(entity_tag(7)), 7)
        self.assertIsNone(self.version("*"))
        self.assertEqual(self.version(None), "problem 428")
        for other in ('W/"7"', "7", '"x"', '"1", "2"', ""):
            self.assertEqual(self.version(other), "problem 412", other)


class ServerTest(unittest.TestCase):
    """Over a socket on a free loopback port."""

    def setUp(self):
        self.server = Server(("127.0.0.1", 0), thing_router(), quiet_log())
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.stop)

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def raw(self, data):
        """Sends bytes as they are and returns the first line of the answer."""
        return self.raw_lines(data)[0]

    def raw_lines(self, data):
        """Sends bytes as they are and returns the lines of the answer."""
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=30) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.makefile("rb").read().decode("ascii").splitlines()

    def test_round_trip(self):
        kind = {"Content-Type": "application/json", "X-Request-Id": "abc-1"}
        status, headers, body = self.call("POST", "/v1/things", b'{"a": 1}', kind)
        self.assertEqual((status, body), (201, b'{"a":1}\n'))
        self.assertEqual((headers["X-Request-Id"], headers["Connection"]), ("abc-1", "close"))

    def test_forged_request_id_is_replaced(self):
        _, headers, _ = self.call("GET", "/v1/things", headers={"X-Request-Id": "a b"})
        self.assertRegex(headers["X-Request-Id"], r"\A[0-9a-f]{32}\Z")

    def test_head_has_no_body(self):
        status, headers, body = self.call("HEAD", "/v1/things")
        self.assertEqual((status, body, headers["Content-Length"]), (200, b"", "3"))

    def test_fault_of_a_handler_is_a_500_without_its_cause(self):
        status, _, body = self.call("DELETE", "/v1/things/1")
        self.assertEqual(status, 500)
        self.assertNotIn(b"ZeroDivision", body)

    def test_limits(self):
        large = {"Content-Type": "application/json", "Content-Length": str(BODY_BYTES_MAX + 1)}
        self.assertEqual(self.call("POST", "/v1/things", headers=large)[0], 413)
        chunked = b"POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(self.raw(chunked), "HTTP/1.1 411 Length Required")
        short = b"POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}"
        self.assertEqual(self.raw(short), "HTTP/1.1 400 Bad Request")
        negative = b"POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"
        self.assertEqual(self.raw(negative), "HTTP/1.1 400 Bad Request")
        self.assertEqual(self.call("GET", "/v1/things?a=1&a=2")[0], 400)

    def test_what_is_no_request_gets_a_problem_too(self):
        cases = {
            b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n": "501",
            b"GET / HTTP/9.9\r\n\r\n": "505",
            # Exactly what the server reads: closing with unread bytes could cost the answer.
            b"GET /".ljust(65537, b"x"): "414",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n": "431",
        }
        for data, status in cases.items():
            lines = self.raw_lines(data)
            self.assertEqual(lines[0].split()[1], status)
            self.assertIn("Content-Type: application/problem+json", lines)
