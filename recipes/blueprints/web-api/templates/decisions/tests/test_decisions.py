"""Decisions: numbered without gaps, complete, and listed in the index."""

import pathlib
import re
import unittest

ADR = pathlib.Path(__file__).resolve().parent.parent / "docs" / "adr"


class DecisionsTest(unittest.TestCase):
    """Every record and the index."""

    def setUp(self):
        self.records = sorted(ADR.glob("[0-9][0-9][0-9][0-9]-*.md"))

    def test_numbers_have_no_gap(self):
        numbers = [int(path.name[:4]) for path in self.records]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def test_each_says_what_it_must(self):
        for path in self.records:
            text = path.read_text(encoding="utf-8")
            with self.subTest(path.name):
                self.assertTrue(text.startswith("# {}: ".format(path.name[:4])))
                self.assertRegex(text, r"(?m)^Status: (proposed|accepted|replaced by \d{4})$")
                parts = re.findall(r"(?m)^## (.+)$", text)
                self.assertEqual(parts, ["Context", "Decision", "Consequences"])

    def test_index_lists_all(self):
        index = (ADR / "README.md").read_text(encoding="utf-8")
        listed = re.findall(r"\]\((\d{4}-[^)]+)\)", index)
        self.assertEqual(listed, [path.name for path in self.records])
