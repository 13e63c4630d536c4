from __future__ import annotations

from koilo.language.words import PAD, UNKNOWN, WordTokenizer, collect_words, split_words


def test_case_hyphens_and_slashes_make_no_other_words():
    assert split_words("Bi- or Multi-nucleation (N/C)") == split_words("bi or multi nucleation n c")


def test_numbers_and_the_greater_sign_are_words():
    assert split_words("2.5-3x, >3 times") == ["2.5", "3", "x", ">", "3", "times"]


def test_texts_are_filled_up_and_strange_words_are_one_number():
    tokenize = WordTokenizer(collect_words(["dark nucleus", "halo"]))
    numbers = tokenize(["a dark halo", "", "nucleus"])
    assert numbers.shape == (3, 3)
    assert numbers[0, 0] == UNKNOWN
    assert (numbers[1] == PAD).all()
    assert len(set(numbers[0].tolist())) == 3
    assert len(tokenize) == 2 + 3


def test_a_text_without_any_text_has_still_one_place():
    assert WordTokenizer(["halo"])([""]).shape == (1, 1)


def test_the_known_share_counts_words():
    tokenize = WordTokenizer(["perinuclear", "halo"])
    assert tokenize.known_share("perinuclear halo") == 1
    assert tokenize.known_share("halo of light") == 1 / 3
    assert tokenize.known_share("??") == 0
