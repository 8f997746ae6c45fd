"""The service as it is run: a process of its own, real sockets, a real file, real signals."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
WAIT_SECONDS = 15
TEA = {"sku": "TEA-01", "name": "Green tea", "price_cents": 450, "stock": 3}


class Service:
    """One running process. Its log lines are read as they come, so waiting for one needs no sleep."""

    def __init__(self, database):
        environ = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PORT": "0",
            "DATABASE": database,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tpl_package"], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
        )
        # A process that never says that it listens is ended, which ends the reading below.
        guard = threading.Timer(WAIT_SECONDS, self.process.kill)
        guard.start()
        self.lines = []
        self.port = self.wait_for("listening")["port"]
        guard.cancel()

    def wait_for(self, message):
        """Reads the log up to a message."""
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]
        raise AssertionError("the service ended without {!r}: {}".format(message, self.lines))

    def call(self, method, path, value=None, **headers):
        """One request; status, headers and parsed body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            given = {name.replace("_", "-"): text for name, text in headers.items()}
            body = None
            if value is not None:
                body = json.dumps(value)
                given["Content-Type"] = "application/json"
            connection.request(method, path, body, given)
            response = connection.getresponse()
            text = response.read()
            return response.status, dict(response.getheaders()), json.loads(text) if text else None
        finally:
            connection.close()

    def stop(self, number=signal.SIGTERM):
        """Sends a signal and returns the exit status and the rest of the log."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=WAIT_SECONDS)
        self.lines += [json.loads(line) for line in rest.splitlines()]
        return self.process.returncode


class EndToEndTest(unittest.TestCase):
    """Each test has a directory of its own."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.database = os.path.join(directory.name, "data.sqlite3")

    def start(self):
        service = Service(self.database)
        self.addCleanup(service.stop)
        return service

    def test_an_order_survives_a_restart(self):
        service = self.start()
        self.assertEqual(service.call("GET", "/readyz")[0], 200)
        self.assertEqual(service.call("POST", "/v1/tpl_items", TEA)[0], 201)
        order = {"tpl_item_id": 1, "quantity": 2}
        status, _, placed = service.call("POST", "/v1/orders", order, Idempotency_Key="order-0001")
        self.assertEqual(status, 201)
        self.assertEqual(service.stop(), 0)

        service = self.start()
        again = service.call("POST", "/v1/orders", order, Idempotency_Key="order-0001")
        self.assertEqual((again[0], again[2]), (200, placed))
        self.assertEqual(service.call("GET", "/v1/tpl_items/1")[2]["stock"], 1)
        self.assertEqual(service.stop(signal.SIGINT), 0)

    def test_kill_loses_nothing_that_was_answered(self):
        service = self.start()
        self.assertEqual(service.call("POST", "/v1/tpl_items", TEA)[0], 201)
        self.assertEqual(service.stop(signal.SIGKILL), -signal.SIGKILL)
        service = self.start()
        self.assertEqual(service.call("GET", "/v1/tpl_items/1")[2]["sku"], "TEA-01")

    def test_stop_finishes_the_request_that_was_started(self):
        service = self.start()
        body = json.dumps(TEA).encode("ascii")
        head = "POST /v1/tpl_items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += "Content-Length: {}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port), timeout=WAIT_SECONDS) as started:
            started.sendall(head.format(len(body)).encode("ascii"))
            # Connections are accepted in order: once this one is answered, the one above is being served.
            self.assertEqual(service.call("GET", "/healthz")[0], 200)
            service.process.send_signal(signal.SIGTERM)
            service.wait_for("stopping")
            started.sendall(body)
            answer = started.makefile("rb").readline()
        self.assertEqual(answer.split()[1], b"201")
        self.assertEqual(service.stop(), 0)
        self.assertEqual(service.lines[-1]["message"], "stopped")

    def test_stop_that_is_asked_for_again_and_again_is_one_stop(self):
        service = self.start()
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("stopping")
        while service.process.poll() is None:
            service.process.send_signal(signal.SIGTERM)
        self.assertEqual(service.stop(), 0)
        self.assertEqual(service.lines[-1]["message"], "stopped")

    def test_log_is_one_json_object_per_line(self):
        service = self.start()
        service.call("GET", "/v1/tpl_items/7", X_Request_Id="trace-7")
        service.stop()
        (line,) = [line for line in service.lines if line.get("request_id") == "trace-7"]
        self.assertEqual((line["status"], line["path"]), (404, "/v1/tpl_items/7"))
        self.assertTrue(all(re.match(r"\d{4}-\d\d-\d\dT", line["at"]) for line in service.lines))

    def test_two_clients_change_the_same_thing(self):
        service = self.start()
        _, headers, _ = service.call("POST", "/v1/tpl_items", TEA)
        first = service.call("PUT", "/v1/tpl_items/1", dict(TEA, stock=8), If_Match=headers["ETag"])
        second = service.call("PUT", "/v1/tpl_items/1", dict(TEA, stock=1), If_Match=headers["ETag"])
        self.assertEqual((first[0], second[0], second[1]["ETag"]), (200, 412, first[1]["ETag"]))
        self.assertEqual(service.call("GET", "/v1/tpl_items/1")[2]["stock"], 8)
