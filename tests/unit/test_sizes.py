"""The sizes that keep the code readable; an exception is a line here with its reason."""

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("schemas", "quality", "streams", "sinks", "infra", "pipeline")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

LONG_FUNCTIONS: dict[str, str] = {}
MANY_NAMES: dict[str, str] = {
    "schemas/errors.py": "one tree of errors",
}


def functions(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            if body:
                yield f"{path.relative_to(ROOT)}:{node.name}", body[-1].end_lineno - body[0].lineno + 1


def public_names(path):
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def test_functions_are_short():
    lengths = {name: size for path in MODULES for name, size in functions(path)}
    sizes = sorted(lengths.values())
    long = {name: size for name, size in lengths.items() if size > 60 and name not in LONG_FUNCTIONS}
    assert not long
    assert median(sizes) <= 8
    assert quantiles(sizes, n=10)[-1] <= 25


def test_modules_are_short():
    sizes = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in MODULES}
    assert not {name: size for name, size in sizes.items() if size > 450}
    assert quantiles(sorted(sizes.values()), n=10)[-1] <= 250


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_has_few_public_names(path):
    name = str(path.relative_to(ROOT))
    assert len(public_names(path)) <= 8 or name in MANY_NAMES


def test_no_exception_is_left_over():
    lengths = {name for path in MODULES for name, size in functions(path) if size > 60}
    assert set(LONG_FUNCTIONS) <= lengths
    assert all(len(public_names(ROOT / name)) > 8 for name in MANY_NAMES)


@pytest.mark.parametrize(
    "path", sorted(p for p in MODULES if p.name == "__init__.py"), ids=lambda p: str(p.parent.relative_to(ROOT))
)
def test_a_package_says_what_enters_and_leaves_and_imports_nothing(path):
    tree = ast.parse(path.read_text())
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)
