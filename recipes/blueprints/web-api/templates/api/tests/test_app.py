"""Starting: what cannot work is said before anything listens."""

import contextlib
import io
import json
import os
import sqlite3
import tempfile
import unittest

from tpl_package import app


def start(environ):
    """Runs the program in this process; only for starts that end at once."""
    captured = io.StringIO()
    with contextlib.redirect_stderr(captured):
        status = app.main(environ)
    return status, [json.loads(line) for line in captured.getvalue().splitlines()]


class StartTest(unittest.TestCase):
    """Refused starts."""

    def test_bad_configuration(self):
        status, (line,) = start({"PORT": "x", "LOG_LEVEL": "loud"})
        self.assertEqual((status, len(line["problems"])), (app.EXIT_CONFIG, 2))

    def test_database_of_a_newer_version(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "x.sqlite3")
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA user_version = 99")
            connection.close()
            status, (line,) = start({"DATABASE": path, "PORT": "0"})
        self.assertEqual(status, app.EXIT_STORAGE)
        self.assertIn("schema 99", line["reason"])

    def test_database_that_is_none(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "x.sqlite3")
            with open(path, "wb") as file:
                file.write(b"this is not a database, but long enough to be read as one" * 20)
            status, (line,) = start({"DATABASE": path, "PORT": "0"})
        self.assertEqual(status, app.EXIT_STORAGE)
        self.assertIn("not a database", line["reason"])
