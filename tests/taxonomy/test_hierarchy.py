"""The tree of HiCervix: 29 classes, three levels, and distances counted by hand."""

from __future__ import annotations

from koilo.taxonomy import CYTOLOGY
from koilo.taxonomy.hierarchy import Hierarchy, load_hierarchy


def test_it_holds_29_classes_in_three_levels() -> None:
    tree = load_hierarchy()
    assert [len(tree.level(number)) for number in (1, 2, 3)] == [4, 21, 23]
    assert len(tree.classes) == 29
    assert tree.depth == 3
    assert tree.level(3) == tree.leaves


def test_every_leaf_has_a_place_among_koilos_classes() -> None:
    tree = load_hierarchy()
    assert set(tree.bethesda) == set(CYTOLOGY)
    homes = dict(zip(tree.leaves, tree.bethesda, strict=True))
    assert (homes["ADC-ECC"], homes["TRI"], homes["SCC"]) == ("AGC", "NILM", "SCC")


def test_a_leaf_of_level_two_stands_for_itself_on_level_three() -> None:
    tree = load_hierarchy()
    leaf = tree.leaves.index("LSIL")
    names = [tree.level(number)[tree.fold(number)[leaf]] for number in (1, 2, 3)]
    assert names == ["ASC", "LSIL", "LSIL"]
    deep = tree.leaves.index("ADC-EMC")
    assert tree.level(2)[tree.fold(2)[deep]] == "ADC"


def test_distances_are_heights_of_the_lowest_class_shared() -> None:
    tree = load_hierarchy()
    apart = tree.distances()

    def between(a: str, b: str) -> int:
        return int(apart[tree.leaves.index(a), tree.leaves.index(b)])

    assert (apart == apart.T).all()
    assert [between("LSIL", "LSIL"), between("LSIL", "HSIL"), between("LSIL", "Normal")] == [
        0,
        1,
        3,
    ]
    assert between("ADC-ECC", "ADC-EMC") == 1
    assert between("ADC-ECC", "AGC-FN") == 2


def test_a_small_tree_by_hand() -> None:
    tree = Hierarchy("toy", (("a",), ("b", "c"), ("b", "d")), ("NILM", "LSIL", "HSIL"))
    assert tree.level(1) == ("a", "b")
    assert tree.classes == ("a", "b", "c", "d")
    assert tree.distances().tolist() == [[0, 2, 2], [2, 0, 1], [2, 1, 0]]
