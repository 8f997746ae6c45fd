"""Source rules of this repository, checked with the standard library alone.

Usage: python3 tools/lint.py [PATH ...]

Without paths it checks every Python file of the repository. Prints one line per finding and exits
with 1 if there is one. The rules are few on purpose: each is a fault that has cost somebody an
evening.
"""

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINE_MAX = 120
FUNCTION_LINES_MAX = 60
SKIPPED = {".git", "__pycache__", "build", "dist", "data"}


def check_text(text):
    """Findings on the text itself, as (line, message)."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_MAX:
            yield number, "line has {} characters, more than {}".format(len(line), LINE_MAX)
        if line != line.rstrip():
            yield number, "trailing white space"
        if "\t" in line:
            yield number, "tab"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def check_tree(tree, is_product):
    """Findings on the syntax tree, as (line, message)."""
    if not ast.get_docstring(tree):
        yield 1, "module has no docstring"
    public = public_functions(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except hides every fault"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from check_function(node, is_product and node in public)
        if is_product and isinstance(node, ast.Assert):
            yield node.lineno, "assert is removed by -O; raise an error"
        if is_product and isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield node.lineno, "print in the service; use logging"
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"eval", "exec"}:
            yield node.lineno, "{} runs text as code".format(node.func.id)


def public_functions(tree):
    """Functions of the module and of its public classes; those inside of functions are nobody else's."""
    classes = [c for c in tree.body if isinstance(c, ast.ClassDef) and not c.name.startswith("_")]
    functions = [f for scope in [tree] + classes for f in scope.body]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {f for f in functions if isinstance(f, kinds) and not f.name.startswith("_")}


def check_function(node, is_public):
    """Findings on one function; a public one must say what it does."""
    length = node.end_lineno - node.lineno + 1
    if length > FUNCTION_LINES_MAX:
        yield node.lineno, "function has {} lines, more than {}".format(length, FUNCTION_LINES_MAX)
    for default in node.args.defaults + [d for d in node.args.kw_defaults if d]:
        if isinstance(default, (ast.List, ast.Dict, ast.Set)):
            yield default.lineno, "mutable default value is shared by all calls"
    if is_public and not ast.get_docstring(node):
        yield node.lineno, "public function {} has no docstring".format(node.name)


def check_imports(tree):
    """Names that are imported and not used. A package's __init__ may re-export, so it is not asked."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                continue
            for alias in node.names:
                imported[(alias.asname or alias.name).split(".")[0]] = node.lineno
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name, line in imported.items():
        if name not in used:
            yield line, "{} is imported and not used".format(name)


def check_source(text, is_product=True, is_init=False):
    """All findings on one source text, in order of line."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [(error.lineno or 1, "does not parse: {}".format(error.msg))]
    findings = list(check_text(text)) + list(check_tree(tree, is_product))
    if not is_init:
        findings += check_imports(tree)
    return sorted(findings)


def sources(paths):
    """The Python files to check."""
    if paths:
        return [pathlib.Path(path).resolve() for path in paths]
    found = ROOT.rglob("*.py")
    return sorted(p for p in found if not SKIPPED.intersection(p.relative_to(ROOT).parts))


def main(argv):
    """Checks the files and prints what it found; returns the exit status."""
    count = 0
    files = sources(argv[1:])
    for path in files:
        try:
            shown = path.relative_to(ROOT)
        except ValueError:
            shown = path
        is_product = shown.parts[0] not in {"tests", "tools"}
        text = path.read_text(encoding="utf-8")
        for line, message in check_source(text, is_product, path.name == "__init__.py"):
            print("{}:{}: {}".format(shown, line, message))
            count += 1
    print("lint: {} files, {} findings".format(len(files), count))
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
