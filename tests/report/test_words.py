from __future__ import annotations

import doctest

import pytest

from koilo.report import words


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(words)
    assert results.attempted == 6
    assert results.failed == 0


@pytest.mark.parametrize(("p", "limit"), [(0.1, 0.2), (0.50001, 0.5), (0.2173, 0.2173)])
def test_two_probabilities_read_equal_only_if_they_are(p, limit):
    one, other = words.told_apart(p, limit)
    assert (one == other) == (p == limit)


def test_control_characters_do_not_reach_the_print_header():
    assert words.css_string("a\n\x00b") == "ab"
