"""The package itself: importable, versioned, free of third-party imports."""

import ast
import pathlib
import re
import sys
import unittest

import tpl_package

ROOT = pathlib.Path(__file__).resolve().parent.parent


class PackageTest(unittest.TestCase):
    """What every other part relies on."""

    def test_version_is_semantic(self):
        self.assertRegex(tpl_package.__version__, r"\A\d+\.\d+\.\d+\Z")

    def test_pyproject_names_this_package(self):
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        self.assertIn('name = "tpl-service"', text)
        self.assertTrue(re.search(r"^dependencies = \[\]$", text, re.M), "the service has no dependencies")

    @unittest.skipUnless(hasattr(sys, "stdlib_module_names"), "needs Python 3.10")
    def test_only_the_standard_library_is_imported(self):
        for path in sorted((ROOT / "tpl_package").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module]
                for name in names:
                    top = name.split(".")[0]
                    allowed = top in sys.stdlib_module_names or top == "tpl_package"
                    self.assertTrue(allowed, "{} imports {}".format(path.name, name))
