"""What the tests of the documentation share: the pages, their links, their blocks, and the names in a Python file."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path):
    return str(path.relative_to(ROOT))


def prose(text):
    """The page without its fenced blocks."""
    return FENCE.sub("", text)


def links(text):
    """(label, target) of every link outside of fenced blocks."""
    return LINK.findall(prose(text))


def blocks(text, *languages):
    return [content for language, content in FENCE.findall(text) if language in languages]


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", heading).lower())
        found.append(plain.replace(" ", "-"))
    return found


def defined(path):
    """Names that a Python file defines: `function`, `Class`, `Class.method`."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            inner = (each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)))
            found |= {f"{node.name}.{each.name}": each for each in inner}
    return found


def target(page, link):
    """The file that a relative link names."""
    return (page.parent / link.partition("#")[0]).resolve()
