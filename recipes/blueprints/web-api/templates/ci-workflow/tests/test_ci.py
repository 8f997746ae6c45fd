"""The workflow is a protected file: it runs every gate, with the least rights, from pinned actions."""

import pathlib
import re
import unittest

WORKFLOW = pathlib.Path(__file__).resolve().parent.parent / ".github" / "workflows" / "ci.yml"


class WorkflowTest(unittest.TestCase):
    """Read as text: the standard library has no YAML parser, and these rules need none."""

    def setUp(self):
        self.text = WORKFLOW.read_text(encoding="ascii")

    def test_every_gate_runs(self):
        commands = re.findall(r"^\s+- run: (.+)$", self.text, re.M)
        for part in ("compileall", "unittest discover", "tools/lint.py", "tools/links.py"):
            self.assertTrue(any(part in command for command in commands), part)

    def test_actions_are_pinned_by_hash(self):
        used = re.findall(r"uses: (\S+)", self.text)
        self.assertTrue(used)
        for action in used:
            self.assertRegex(action, r"@[0-9a-f]{40}\Z")

    def test_least_rights(self):
        self.assertIn("permissions:\n  contents: read\n", self.text)
        self.assertNotIn("write", self.text)
        self.assertNotIn("secrets.", self.text)
        self.assertNotIn("pull_request_target", self.text)

    def test_oldest_supported_python_is_tested(self):
        pyproject = (WORKFLOW.parent.parent.parent / "pyproject.toml").read_text(encoding="utf-8")
        oldest = re.search(r'requires-python = ">=([0-9.]+)"', pyproject).group(1)
        self.assertIn('"{}"'.format(oldest), self.text)
