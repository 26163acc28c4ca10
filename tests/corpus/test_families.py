"""Works that are one across collections."""

import json
from dataclasses import replace

import pytest

from src.corpus.configuration import CorpusConfig
from src.corpus.families import (
    KNOWN_PAIRS,
    find_families,
    join_pairs,
    read_same_works,
    write_same_works,
)
from src.corpus.identity import similarity_pairs
from src.corpus.tune import save_tunes
from src.corpus.works import load_corpus_tunes
from src.errors import UserError
from tests.corpus.test_identity import bent, random_tune

BOOK = [random_tune(k, work=f"book/{k}", title=f"book tune {k}") for k in range(1, 12)]
SONGS = [random_tune(k, work=f"songs/{k}", title=f"song called {k}") for k in range(21, 32)]
SAME = bent(BOOK[4], shift=5, stretch=2.0, skip=11, work="songs/same")


def test_melodies_are_found_across_collections_whatever_their_title_and_key() -> None:
    expected = [["book/5", "songs/same"]]
    assert find_families({"book": BOOK, "songs": [*SONGS, SAME]}) == expected
    assert find_families({"songs": [SAME, *SONGS[::-1]], "book": BOOK[::-1]}) == expected
    assert find_families({"book": BOOK, "songs": SONGS}) == []


def test_settings_count_and_families_reach_over_three_collections() -> None:
    songs = [replace(SONGS[0], settings=(replace(SAME, work=SONGS[0].work),)), *SONGS[1:]]
    third = [bent(BOOK[4], shift=-2, work="third/x")]
    found = find_families({"book": BOOK, "songs": songs, "third": third})
    assert found == [["book/5", "songs/21", "third/x"]]


def test_pairs_known_by_ear_count_where_both_works_are_there() -> None:
    first, second = (replace(t, work=w) for t, w in zip(BOOK, KNOWN_PAIRS[0], strict=False))
    assert find_families({"fiddle": [first], "openewld": [second]}) == [list(KNOWN_PAIRS[0])]
    assert find_families({"fiddle": [first], "openewld": SONGS}) == []


def test_part_of_a_melody_needs_the_title_as_well() -> None:
    # Most of one of two sections is shared; the other tells the tunes apart.
    shared, other = BOOK[0].sections[0], SONGS[3].sections[1]
    shared = replace(shared, melody=tuple(n for n in shared.melody if n.onset < 22))
    half = replace(BOOK[0], sections=(shared, other), work="songs/half")
    stranger = replace(half, title="quite another name")
    (value,) = similarity_pairs([BOOK[0], half]).values()
    assert 0.25 <= value < 0.5
    assert find_families({"book": BOOK, "songs": [stranger]}) == []
    assert find_families({"book": BOOK, "songs": [half]}) == [["book/1", "songs/half"]]


def test_only_pairs_across_the_split_are_compared() -> None:
    tunes = [BOOK[4], bent(BOOK[4], shift=1), *SONGS, SAME]
    everything = similarity_pairs(tunes)
    across = similarity_pairs(tunes, split=2)
    assert (0, 1) in everything
    assert across == {pair: v for pair, v in everything.items() if pair[0] < 2 <= pair[1]}
    assert len(across) == 2


def test_files_are_read_as_written_and_mistakes_named(tmp_path) -> None:
    path = tmp_path / "same_works.json"
    write_same_works(join_pairs([("b/2", "a/1"), ("b/2", "c/3"), ("d/4", "e/5")]), path)
    assert read_same_works(path) == {
        "a/1": "a/1",
        "b/2": "a/1",
        "c/3": "a/1",
        "d/4": "d/4",
        "e/5": "d/4",
    }
    path.write_text(json.dumps({"format": 1, "same_works": [["a/1", "b/2"], ["b/2", "c/3"]]}))
    with pytest.raises(UserError, match="names b/2 twice"):
        read_same_works(path)
    path.write_text('{"same_works": ["a/1"]}')
    with pytest.raises(UserError, match=r"not a file of same works.*make_tunes"):
        read_same_works(path)


def test_a_family_is_one_song_and_is_excluded_together(tmp_path) -> None:
    save_tunes(BOOK, tmp_path / "book.json")
    save_tunes([*SONGS, SAME], tmp_path / "songs.json")
    write_same_works([["book/5", "songs/same"]], tmp_path / "same.json")
    (tmp_path / "list.txt").write_text("songs/same\n")
    config = CorpusConfig(
        tunes=[str(tmp_path / "book.json"), str(tmp_path / "songs.json")],
        same_works=str(tmp_path / "same.json"),
    )
    songs = {tune.work: tune.song for tune in load_corpus_tunes(config)}
    assert songs["songs/same"] == songs["book/5"] == "book/5"
    assert songs["book/1"] == "book/1"
    plain = config.model_copy(update={"same_works": None})
    assert all(tune.song == tune.work for tune in load_corpus_tunes(plain))
    without = config.model_copy(
        update={"exclude": [str(tmp_path / "list.txt")], "exclude_similar": None}
    )
    assert {"book/5", "songs/same"} == set(songs) - {t.work for t in load_corpus_tunes(without)}
