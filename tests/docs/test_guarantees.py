"""What is promised is tested: each line says MUST and names tests that exist and run."""

import ast
import re

import pytest

from tests.docs.pages import ROOT, defined, links, target

PAGE = ROOT / "docs" / "guarantees.md"


def promises():
    """Each promise as one line."""
    text = re.sub(r"\n  +", " ", PAGE.read_text())
    return [line for line in text.splitlines() if line.startswith("- ")]


def named_in(promise):
    return [(label.strip("`"), target(PAGE, link)) for label, link in links(promise)]


def switched_off(node):
    """Whether a test is skipped or expected to fail, by a decorator or by a call."""
    return bool(
        {"skip", "skipif", "xfail", "importorskip"} & {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    )


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise[2:60])
def test_a_promise_says_must_and_names_a_test_that_runs(promise):
    assert re.search(r"\bMUST\b", promise)
    named = named_in(promise)
    assert named
    for function, path in named:
        assert path.is_relative_to(ROOT / "tests"), path
        found = defined(path)[function]
        assert isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)), function
        assert function.rpartition(".")[2].startswith("test_"), function
        assert not switched_off(found), function
        assert path.name.startswith("test_") or path.parent.name == "conformance", path


def test_the_page_makes_promises_and_each_once():
    sentences = [promise.split("[`")[0] for promise in promises()]
    assert len(sentences) == len(set(sentences)) >= 40
    assert (
        PAGE.read_text().count("MUST") == sum(promise.count("MUST") for promise in promises()) + 1
    )  # its first sentence


def test_a_case_that_is_named_has_an_implementation():
    conformance = {
        path.stem for promise in promises() for _, path in named_in(promise) if path.parent.name == "conformance"
    }
    users = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {stem for stem in conformance if f"tests.conformance.{stem} import" not in users} == set()


def test_a_test_that_is_switched_off_is_noticed():
    assert switched_off(ast.parse("@pytest.mark.skip\ndef test_it(): ..."))
    assert switched_off(ast.parse("def test_it():\n    pytest.skip('later')"))
    assert not switched_off(ast.parse("@pytest.mark.parametrize('a', [1])\ndef test_it(a): assert a"))
