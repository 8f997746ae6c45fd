"""Logs: each record is one line of JSON, whatever is in it."""

import io
import json
import logging
import unittest

from tpl_package import logs


class LogsTest(unittest.TestCase):
    """One logger per test, nothing global."""

    def setUp(self):
        self.stream = io.StringIO()
        self.log = logs.configure(logging.Logger("test"), "INFO", self.stream)

    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def test_fields_are_data(self):
        self.log.info("request", extra={"fields": {"path": "/a\n{\"level\":\"error\"}", "status": 200}})
        (line,) = self.lines()
        self.assertEqual((line["message"], line["level"], line["status"]), ("request", "info", 200))
        self.assertEqual(line["path"], "/a\n{\"level\":\"error\"}")
        self.assertTrue(line["at"].endswith("Z"))

    def test_a_field_cannot_replace_the_level(self):
        self.log.warning("x", extra={"fields": {"level": "debug", "message": "y"}})
        (line,) = self.lines()
        self.assertEqual((line["level"], line["message"]), ("warning", "x"))

    def test_level_and_exception(self):
        self.log.debug("not shown")
        try:
            raise ValueError("boom")
        except ValueError:
            self.log.exception("failed")
        (line,) = self.lines()
        self.assertIn("ValueError: boom", line["error"])
