"""Starts the finished service, calls it, and stops it; inside a sandbox that has only its own loopback.

Reads what to do from the JSON file that is named as the only argument. Prints one line per thing that was seen and exits
with 0 only if all of them were as they should be.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

STOP_SECONDS = 15
CALL_SECONDS = 10


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        todo = json.load(file)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ, PORT=str(port), **todo["start"]["env"])
    service = subprocess.Popen(["sh", "-c", todo["start"]["run"]], env=environment)
    try:
        failures = check(todo, service, port)
    finally:
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
        try:
            status = service.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
            status = service.wait()
            print("FAIL the service did not stop within {} s of SIGTERM".format(STOP_SECONDS))
    print("{} the service stopped with status {}".format("ok  " if status == 0 else "FAIL", status))
    return 1 if failures or status != 0 else 0


def check(todo, service, port):
    began = time.monotonic()
    while not is_ready(port, todo["ready_path"]):
        if service.poll() is not None:
            print("FAIL the service ended at once with status {}".format(service.returncode))
            return 1
        if time.monotonic() - began > todo["ready_timeout"]:
            print("FAIL {} did not answer 200 within {} s".format(todo["ready_path"], todo["ready_timeout"]))
            return 1
        time.sleep(0.02)
    print("ok   ready on 127.0.0.1:{} after {:.2f} s".format(port, time.monotonic() - began))
    return sum(not call(port, wanted) for wanted in todo["calls"])


def is_ready(port, path):
    try:
        return answer(port, "GET", path, None, {})[0] == 200
    except OSError:
        return False


def call(port, wanted):
    headers = dict(wanted["headers"])
    if wanted["body"] is not None:
        headers.setdefault("Content-Type", "application/json")
    try:
        status, text = answer(port, wanted["method"], wanted["path"], wanted["body"], headers)
    except (OSError, http.client.HTTPException) as error:
        print("FAIL {} {}: {}".format(wanted["method"], wanted["path"], error))
        return False
    contains = wanted["expect_contains"]
    good = status == wanted["expect_status"] and (contains is None or contains in text)
    print("{} {} {} -> {}".format("ok  " if good else "FAIL", wanted["method"], wanted["path"], status))
    if not good:
        print("     wanted {} with {!r}, got {!r}".format(wanted["expect_status"], contains, text[:300]))
    return good


def answer(port, method, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
