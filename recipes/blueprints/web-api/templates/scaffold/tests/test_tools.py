"""The gates have to catch what they promise to catch, or they are decoration."""

import pathlib
import tempfile
import unittest

from tools import links, lint


def messages(source, is_product=True):
    """Lint findings of one source text, without their lines."""
    return [message for _, message in lint.check_source(source, is_product)]


class LintTest(unittest.TestCase):
    """One fault per rule."""

    def test_clean_source_has_no_findings(self):
        self.assertEqual(messages('"""Doc."""\n\nimport os\n\nNAME = os.name\n'), [])

    def test_each_rule(self):
        cases = {
            "x = 1\n": "module has no docstring",
            '"""D."""\nimport os\n': "os is imported and not used",
            '"""D."""\ntry:\n    x = 1\nexcept:\n    x = 2\n': "bare except hides every fault",
            '"""D."""\ndef _f(a=[]):\n    return a\n': "mutable default value is shared by all calls",
            '"""D."""\ndef f():\n    return 1\n': "public function f has no docstring",
            '"""D."""\nclass C:\n    def m(self):\n        pass\n': "public function m has no",
            '"""D."""\nprint(1)\n': "print in the service; use logging",
            '"""D."""\nassert True\n': "assert is removed by -O; raise an error",
            '"""D."""\neval("1")\n': "eval runs text as code",
            '"""D."""\nx = 1 \n': "trailing white space",
            '"""D."""\nx = 1': "no newline at the end of the file",
            '"""D."""\nx = "{}"\n'.format("y" * 140): "line has 146 characters, more than 120",
            "def (\n": "does not parse",
        }
        for source, expected in cases.items():
            with self.subTest(expected):
                found = messages(source)
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(expected), found)

    def test_tests_and_tools_may_print_and_assert(self):
        self.assertEqual(messages('"""D."""\nassert True\nprint(1)\n', is_product=False), [])


class LinksTest(unittest.TestCase):
    """Links to files and headings."""

    def test_broken_and_good_links(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory).resolve()
            (root / "b.md").write_text("# A Heading\n```\n# not one\n```\n", encoding="utf-8")
            (root / "a.md").write_text(
                "[ok](b.md) [ok](b.md#a-heading) [web](https://example.org/x) [gone](c.md)\n"
                "[head](b.md#not-one) [out](../x)\n",
                encoding="utf-8",
            )
            found = [(str(d), line, target) for d, line, target, _ in links.broken_links(root)]
        self.assertEqual(found, [("a.md", 1, "c.md"), ("a.md", 2, "b.md#not-one"), ("a.md", 2, "../x")])
