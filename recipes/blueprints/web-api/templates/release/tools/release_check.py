"""What must hold before a release: one version everywhere, a changelog entry, every route in the interface description.

Usage: python3 tools/release_check.py
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIRED = ("README.md", "CHANGELOG.md", "docs/runbook.md", "docs/openapi.json", "docs/adr/README.md")


def problems(root):
    """Every reason against a release."""
    init = (root / "tpl_package" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "([^"]+)"', init).group(1)
    for name in REQUIRED:
        if not (root / name).exists():
            yield "{} is missing".format(name)
            return
    first = re.search(r"(?m)^## (\S+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if not first or first.group(1) != version:
        yield "CHANGELOG.md does not begin with {}".format(version)
    described = json.loads((root / "docs" / "openapi.json").read_text(encoding="utf-8"))
    if described["info"]["version"] != version:
        yield "docs/openapi.json is of version {}".format(described["info"]["version"])
    readme = (root / "README.md").read_text(encoding="utf-8")
    config = (root / "tpl_package" / "config.py").read_text(encoding="utf-8")
    for variable in sorted(set(re.findall(r'environ\.get\("([A-Z_]+)"', config))):
        if "`{}`".format(variable) not in readme:
            yield "README.md does not explain {}".format(variable)


def main():
    """Prints every reason against a release; returns the exit status."""
    found = list(problems(ROOT))
    for problem in found:
        print("release: {}".format(problem))
    print("release: {}".format("not ready" if found else "ready"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
