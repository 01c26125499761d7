import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.automaton import FOUND, START, automaton
from quality.shared_rules import CONTACT
from schemas.walk import Unsupported

PATTERNS = (CONTACT, "ab?c", "a|bc|[x-z]{2}", "(?:a(?:b|c)?){3}d", "aab", "(?:ab|a)(?:ba|c)", "[0-9A-F]{4}@", "a?b?c")
NEAR = st.text(st.sampled_from("aabbccxz0123456789 @é حA"), max_size=24)


def found(pattern, text):
    """Return whether the automaton finds a pattern in a text."""
    table, state = automaton(pattern), START
    for byte in text.encode():
        state = FOUND if state == FOUND else table[state, byte]
    return state == FOUND


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.one_of(NEAR, st.text(max_size=8)))
def test_it_finds_what_re_finds(pattern, text):
    assert found(pattern, text) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize("text", ["079 123 45 67", "0 7 9 1 2 3 4 5 6", "1234567", "é@", "٠٧٩١٢٣٤٥٦٧"])
def test_contacts_at_their_bounds(text):
    for end in range(len(text) + 1):
        assert found(CONTACT, text[:end]) == (re.search(CONTACT, text[:end]) is not None)


@pytest.mark.parametrize("pattern", [
    "a*", "a+", "^a", "a$", r"\d", ".", "[^a]", "(a)", "a)", "(?:a", "a{0}", "a{1,2}", "a{", "[a", "[]", "é", "", "a?", "a|",
])  # fmt: skip
def test_what_it_cannot_read_it_says(pattern):
    with pytest.raises(Unsupported, match="is not read at character"):
        automaton(pattern)
