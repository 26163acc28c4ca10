"""Parts of a corpus: what conditions keep, and that fewer is a part of more."""

import pytest

from src.data.row_choice import as_many, by_work, choose_rows, value_of
from src.errors import UserError

KINDS = ("studio", "vinyl", "live", "phone")


def corpus(works: int = 12, versions: int = 4) -> list[dict]:
    return [
        {
            "utt": f"w{work:02d}_v{version}",
            "song": f"work {work}",
            "dur_s": 40.0 + 10 * version,
            "choices": {
                "arrangement": {"harmony": ("given", "none")[(work + version) % 2]},
                "recording": {"kind": KINDS[version]},
            },
        }
        for work in range(works)
        for version in range(versions)
    ]


def names(rows) -> list[str]:
    return [row["utt"] for row in rows]


def test_conditions():
    rows = corpus()
    given = choose_rows(rows, where={"arrangement.harmony": "given"})
    assert len(given) == 24
    assert {value_of(row, "arrangement.harmony") for row in given} == {"given"}
    some = choose_rows(rows, where={"recording.kind": ["studio", "vinyl"], "dur_s": {"max": 50}})
    assert names(some) == [name for name in names(rows) if name[-1] in "01"]
    assert names(choose_rows(rows, without={"recording.kind": ["live", "phone"]})) == names(some)
    assert names(choose_rows(rows, where={"dur_s": {"min": 50, "max": 60}})) == [
        name for name in names(rows) if name[-1] in "12"
    ]
    assert choose_rows(rows) == rows


def test_works_that_are_left_with_one_version_are_left_out():
    rows = [row for row in corpus() if row["utt"] not in ("w03_v0", "w03_v1", "w03_v2")]
    assert "work 3" not in by_work(choose_rows(rows))
    with pytest.raises(UserError, match="no work has two versions"):
        choose_rows(corpus(), where={"recording.kind": "live"})


def test_fewer_is_a_part_of_more():
    rows = corpus()
    parts = [set(names(choose_rows(rows, works=n, versions=3, seed=5))) for n in (3, 6, 12)]
    assert [len(part) for part in parts] == [9, 18, 36]
    assert parts[0] < parts[1] < parts[2]
    two = set(names(choose_rows(rows, works=6, versions=2, seed=5)))
    assert two < parts[1]
    assert parts[0] != set(names(choose_rows(rows, works=3, versions=3, seed=6)))
    # Neither the order of the rows nor works that are added at the end of a list matter to which
    # versions a work keeps.
    assert set(names(choose_rows(rows[::-1], versions=2))) == set(
        names(choose_rows(rows, versions=2))
    )


def test_a_control_of_the_same_size():
    rows = corpus()
    like = choose_rows(rows, where={"arrangement.harmony": "given"}, works=5)
    control = as_many(rows, like)
    assert {w: len(of) for w, of in by_work(control).items()} == {
        w: len(of) for w, of in by_work(like).items()
    }
    assert {value_of(row, "arrangement.harmony") for row in control} == {"given", "none"}
    with pytest.raises(UserError, match="has 1 versions, not 2"):
        as_many([row for row in rows if row["utt"][-1] == "0"], like)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"where": {"arrangement.harmonie": "given"}}, "nearest is arrangement.harmony"),
        ({"without": {"kind": "live"}}, "no recording has the key kind"),
        ({"where": {"dur_s": {"least": 3}}}, "a range is written"),
        ({"versions": 1}, "2 or more"),
    ],
)
def test_slips_are_named(conditions, words):
    with pytest.raises(UserError, match=words):
        choose_rows(corpus(), **conditions)
