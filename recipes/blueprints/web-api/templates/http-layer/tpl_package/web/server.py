"""The server: sockets, limits, request log, graceful stop.

One thread per connection, one request per connection: `Connection: close` is always sent, so
there is never an idle connection that a stop would have to wait for. What a handler raises and
nobody expected becomes a 500 with a request id; the cause goes to the log only.
"""

from __future__ import annotations

import http.server
import logging
import re
import socket
import socketserver
import threading
import time
import urllib.parse
import uuid

from .message import Request, problem_response
from .problem import Problem

BODY_BYTES_MAX = 64 * 1024
SOCKET_SECONDS = 10
CONNECTIONS_MAX = 64
LOGGED_PATH_MAX = 500

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def dispatch(router, request):
    """Answers one request; every Problem becomes its response."""
    try:
        handler, params = router.match(request.method, request.path)
        routed = Request(
            request.method, request.path, request.query, request.headers, request.body, params
        )
        return handler(routed)
    except Problem as problem:
        return problem_response(problem, request.path)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Listens at once; serves when `serve_forever` is called; `stop` ends both."""

    # Threads are joined by server_close, so a stop waits for the requests that are being answered.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address, router, log):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.router = router
        self.log = log
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def server_bind(self):
        """Binds without asking a name server for the host's name, as the base class would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address):
        """Starts a thread for a connection, or waits for a free slot: threads are bounded."""
        self._slots.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request, client_address):
        """Serves one connection and gives its slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request, client_address):
        """A connection that broke is not an error of the service."""
        self.log.debug("connection broke", exc_info=True)

    def stop(self):
        """Takes no more connections and waits for those that are being served."""
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads one request within limits and writes its response."""

    protocol_version = "HTTP/1.1"
    timeout = SOCKET_SECONDS

    def _answer(self):
        started = time.monotonic()
        given = self.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        path, _, query = self.path.partition("?")
        try:
            request = self._read(path, query)
            response = dispatch(self.server.router, request)
        except Problem as problem:
            response = problem_response(problem, path)
        except (ConnectionError, socket.timeout):
            raise
        except Exception:  # the last line of defence: one bad request must not look like a dead service
            fields = {"request_id": request_id, "path": path[:LOGGED_PATH_MAX]}
            self.server.log.exception("request failed", extra={"fields": fields})
            response = problem_response(Problem(500, "see the log, request " + request_id), path)
        self._write(response, request_id)
        fields = {
            "request_id": request_id,
            "method": self.command,
            "path": path[:LOGGED_PATH_MAX],
            "status": response.status,
            "duration_ms": round((time.monotonic() - started) * 1000, 1),
        }
        level = logging.ERROR if response.status >= 500 else logging.INFO
        self.server.log.log(level, "request", extra={"fields": fields})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _read(self, path, query):
        if "transfer-encoding" in self.headers:
            raise Problem(411, "send Content-Length; chunked bodies are not taken")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Problem(400, "Content-Length is not a number")
        if len(length) > 9 or int(length) > BODY_BYTES_MAX:
            raise Problem(413, "the body may have at most {} bytes".format(BODY_BYTES_MAX))
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise Problem(400, "the body is shorter than Content-Length")
        try:
            pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, max_num_fields=20)
        except ValueError as error:
            raise Problem(400, "too many query parameters") from error
        if len(dict(pairs)) != len(pairs):
            raise Problem(400, "a query parameter is given twice")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, path, dict(pairs), headers, body)

    def _write(self, response, request_id):
        self.close_connection = True
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("X-Request-Id", request_id)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if response.status not in (204, 304):
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code, message=None, explain=None):
        """Words what the base class refuses before there is a request, as a problem like any other."""
        problem = Problem(code, message or "the request cannot be read")
        # Otherwise a request line without a version would get an answer without a status.
        self.request_version = self.protocol_version
        self._write(problem_response(problem, ""), uuid.uuid4().hex)

    def version_string(self):
        """The Server header: no versions for strangers."""
        return "tpl-service"

    def log_message(self, *args):
        """The base class writes plain text to standard error; the request log above replaces it."""
