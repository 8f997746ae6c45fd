"""The release check passes on this tree and notices what it is there for."""

import pathlib
import shutil
import tempfile
import unittest

from tools import release_check

ROOT = pathlib.Path(__file__).resolve().parent.parent


class ReleaseTest(unittest.TestCase):
    """The tree as it is, and copies with one fault each."""

    def copy(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        root = pathlib.Path(directory.name)
        sources = ("tpl_package/__init__.py", "tpl_package/config.py")
        for name in release_check.REQUIRED + sources:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        return root

    def fault(self, name, old, new):
        root = self.copy()
        text = (root / name).read_text(encoding="utf-8")
        self.assertIn(old, text)
        (root / name).write_text(text.replace(old, new), encoding="utf-8")
        return list(release_check.problems(root))

    def test_this_tree_is_ready(self):
        self.assertEqual(list(release_check.problems(ROOT)), [])

    def test_faults(self):
        found = self.fault("CHANGELOG.md", "## 0.1.0", "## 0.0.9")
        self.assertEqual(found, ["CHANGELOG.md does not begin with 0.1.0"])
        wrong = '"version": "0.2.0"'
        found = self.fault("docs/openapi.json", '"version": "0.1.0"', wrong)
        self.assertEqual(found, ["docs/openapi.json is of version 0.2.0"])
        found = self.fault("README.md", "`LOG_LEVEL`", "log level")
        self.assertEqual(found, ["README.md does not explain LOG_LEVEL"])
        root = self.copy()
        (root / "docs" / "runbook.md").unlink()
        self.assertEqual(list(release_check.problems(root)), ["docs/runbook.md is missing"])
