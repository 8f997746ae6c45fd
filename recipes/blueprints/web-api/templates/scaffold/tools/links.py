"""Checks that every relative link of the Markdown documents leads somewhere.

Usage: python3 tools/links.py

Links to other sites are not followed: this check must give the same answer without a network.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SKIPPED = {".git", "__pycache__", "build", "dist", "data"}


def anchor(heading):
    """The fragment by which a heading is reached."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def headings(text):
    """The fragments of a document; headings in code blocks do not count."""
    found = set()
    in_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and line.startswith("#"):
            found.add(anchor(line.lstrip("#")))
    return found


def broken_links(root):
    """Every broken link, as (document, line, target, reason)."""
    for path in sorted(root.rglob("*.md")):
        if SKIPPED.intersection(path.relative_to(root).parts):
            continue
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            for target in LINK.findall(line):
                reason = reason_broken(root, path, target)
                if reason:
                    yield path.relative_to(root), number, target, reason


def reason_broken(root, document, target):
    """Why a link leads nowhere, or None."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    name, _, fragment = target.partition("#")
    file = (document.parent / name).resolve() if name else document
    if root not in file.parents and file != root:
        return "leaves the repository"
    if not file.exists():
        return "no such file"
    if fragment and file.suffix == ".md":
        if fragment not in headings(file.read_text(encoding="utf-8")):
            return "no such heading"
    return None


def main():
    """Prints what is broken; returns the exit status."""
    broken = list(broken_links(ROOT))
    for document, line, target, reason in broken:
        print("{}:{}: {}: {}".format(document, line, target, reason))
    print("links: {} broken".format(len(broken)))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
