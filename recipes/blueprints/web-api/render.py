"""Copies one task's templates into the workspace, with the parameters of the Vision filled in.

Usage: python3 "$ORCH_BLUEPRINT/render.py" TASK

Templates are ordinary files that use placeholder names (`tpl_package`, `TplItem`, ...), so they can be read, checked and
tested as they are. Values come from ORCH_PARAM_* only, are checked again here, and never reach a shell. A file that
exists already is only replaced when its name is listed in the template folder's `.replaces`: two tasks that write the
same file by accident would be a merge conflict later.
"""

import os
import pathlib
import re
import sys

BLUEPRINT = pathlib.Path(__file__).resolve().parent
NAME = re.compile(r"[a-z][a-z0-9-]{0,23}\Z")
RESOURCE = re.compile(r"[a-z]{2,16}\Z")
# Names that a path of the template tree has instead of a leading dot, which tools tend to hide or drop.
DOTTED = "dot_"


class RenderError(Exception):
    """The parameters or the workspace do not allow this task."""


def substitutions(environ):
    """Pairs of placeholder and value, in the order in which they are replaced."""
    service = environ.get("ORCH_PARAM_SERVICE", "shop")
    resource = environ.get("ORCH_PARAM_RESOURCE", "item")
    port = environ.get("ORCH_PARAM_PORT", "8080")
    if not NAME.match(service) or service.endswith("-"):
        raise RenderError("ORCH_PARAM_SERVICE is not a service name: {!r}".format(service))
    if not RESOURCE.match(resource):
        raise RenderError("ORCH_PARAM_RESOURCE is not a resource name: {!r}".format(resource))
    if not port.isdigit() or not 1024 <= int(port) <= 65535:
        raise RenderError("ORCH_PARAM_PORT is not a port: {!r}".format(port))
    package = service.replace("-", "_")
    taken = set(sys.stdlib_module_names) if hasattr(sys, "stdlib_module_names") else set()
    if package in taken | {"tests", "tools", "docs"}:
        raise RenderError("a service cannot be called {!r}: a module has that name".format(service))
    if resource in {"order", "service", "page", "error"}:
        raise RenderError("a resource cannot be called {!r}: the service has that already".format(resource))
    article = "an" if resource[0] in "aeiou" else "a"
    return [
        ("a tpl_item", article + " tpl_item"),
        ("A tpl_item", article.capitalize() + " tpl_item"),
        ("tpl_package", package),
        ("tpl-service", service),
        ("TPL_PORT", port),
        ("TPL_ITEM", resource.upper()),
        ("TplItem", resource.capitalize()),
        ("tpl_item", resource),
    ]


def render(text, pairs):
    """Replaces every placeholder; one that is left over is a fault of the template."""
    for placeholder, value in pairs:
        text = text.replace(placeholder, value)
    left = re.search(r"tpl[_-]\w*|Tpl[A-Z]\w*|TPL_\w*", text)
    if left:
        raise RenderError("unknown placeholder {!r}".format(left.group()))
    return text


def target_of(relative, pairs):
    """Path in the workspace of a template file."""
    parts = [render(part, pairs) for part in relative.parts]
    return pathlib.Path(*["." + p[len(DOTTED):] if p.startswith(DOTTED) else p for p in parts])


def main(argv, environ):
    """Renders the templates of one task into the current directory."""
    if len(argv) != 2 or not NAME.match(argv[1]):
        raise RenderError("usage: render.py TASK")
    source = BLUEPRINT / "templates" / argv[1]
    if not source.is_dir():
        raise RenderError("no templates for task {!r}".format(argv[1]))
    pairs = substitutions(environ)
    listed = source / "replaces.txt"
    replaced = set(render(listed.read_text(), pairs).split()) if listed.exists() else set()
    files = sorted(p for p in source.rglob("*") if p.is_file() and p != listed and "__pycache__" not in p.parts)
    for count, path in enumerate(files, 1):
        target = target_of(path.relative_to(source), pairs)
        if target.exists() and str(target) not in replaced:
            raise RenderError("{} exists already and is not this task's to replace".format(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = render(path.read_text(encoding="ascii"), pairs)
        target.write_text(text, encoding="ascii")
        print("[{}/{}] {} ({} lines)".format(count, len(files), target, text.count("\n")), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv, os.environ)
    except RenderError as error:
        sys.exit("render: {}".format(error))
