"""Reading lead sheets, ABC and MIDI."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from src.corpus.fiddle import infer_mode, read_abc, read_fiddle_books, read_key, split_abc
from src.corpus.openewld import read_lead_sheet, read_openewld, slug
from src.corpus.pop909 import find_chords, find_key, read_pop909
from src.corpus.sources import cached_tunes
from src.corpus.tune import Chord, MelodyNote, Section
from src.errors import UserError

NOTE = (
    "<note><pitch><step>{}</step>{}<octave>{}</octave></pitch><duration>2</duration>"
    "<voice>1</voice>{}</note>"
)


def lead_sheet(path: Path, measures: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    score = f"<score-partwise><part-list/><part id='P1'>{measures}</part></score-partwise>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("song.xml", score)
    return path


def eight_bars(extra: str = "") -> str:
    first = (
        "<attributes><divisions>2</divisions><key><fifths>-3</fifths><mode>minor</mode></key>"
        "<time><beats>2</beats><beat-type>4</beat-type></time></attributes>"
    )
    chord = (
        "<harmony><root><root-step>A</root-step><root-alter>-1</root-alter></root>"
        "<kind>{}</kind>{}<bass><bass-step>C</bass-step></bass></harmony>"
    )
    seventh = (
        "<degree><degree-value>9</degree-value><degree-alter>-1</degree-alter>"
        "<degree-type>add</degree-type></degree>"
    )
    bars = []
    for k in range(8):
        notes = NOTE.format("E", "<alter>-1</alter>", 4, "") + NOTE.format("CDEFGABC"[k], "", 5, "")
        head = first if k == 0 else ""
        harmony = {0: chord.format("major", ""), 4: chord.format("dominant", seventh)}.get(k, "")
        bars.append(f"<measure number='{k + 1}'>{head}{harmony}{notes}{extra}</measure>")
    return "".join(bars)


def test_a_lead_sheet_is_read(tmp_path):
    path = lead_sheet(tmp_path / "A_Composer-Another" / "My_Song" / "My_Song.mxl", eight_bars())
    tune = read_lead_sheet(path)
    assert (tune.work, tune.title) == ("openewld/my-song", "My Song")
    assert tune.composer == "A Composer, Another"
    assert (tune.tonic, tune.mode, tune.meter.name) == (0, "minor", "2/4")
    (section,) = tune.sections
    assert section.bars == 8
    assert section.melody[0] == MelodyNote(0.0, 1.0, 63)
    assert section.chords == (Chord(0, 8, 8, "maj", 0), Chord(8, 8, 8, "7b9", 0))


def test_a_broken_lead_sheet_is_skipped_and_counted(tmp_path):
    lead_sheet(tmp_path / "a" / "Good" / "Good.mxl", eight_bars())
    (tmp_path / "a" / "Bad.mxl").write_bytes(b"this is no archive")
    lead_sheet(tmp_path / "a" / "Worse" / "Worse.mxl", "<measure number='1'></measure>")
    lead_sheet(tmp_path / "a" / "Ill" / "Ill.mxl", "<measure")
    tunes, skipped = read_openewld(tmp_path)
    assert [t.work for t in tunes] == ["openewld/good"]
    assert len(skipped) == 3


def test_folders_without_tunes_are_named(tmp_path):
    for reader in (read_openewld, read_pop909):
        with pytest.raises(UserError, match=str(tmp_path)):
            reader(tmp_path)
    with pytest.raises(UserError, match="openewld"):
        cached_tunes("openewld", tmp_path)
    with pytest.raises(UserError, match="choose from"):
        cached_tunes("spotify", tmp_path)


def test_a_cache_is_made_once(tmp_path):
    lead_sheet(tmp_path / "in" / "a" / "Good" / "Good.mxl", eight_bars())
    first = cached_tunes("openewld", tmp_path / "cache", tmp_path / "in")
    assert cached_tunes("openewld", tmp_path / "cache") == first


def test_slugs():
    assert slug("Je crois entendre encore (É)") == "je-crois-entendre-encore-e"
    assert slug("O'Neill's   Jig!") == "oneills-jig"
    assert slug("???") == "untitled"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("G", (7, "major")),
        ("Am", (9, "minor")),
        ("E Minor", (4, "minor")),
        ("Bb", (10, "major")),
        ("A Mixolydian", (9, "mixolydian")),
        ("F#m", (6, "minor")),
        ("Ador", (9, "dorian")),
        ("HP", (9, "mixolydian")),
    ],
)
def test_keys_of_abc(text, key):
    assert read_key(text) == key


def test_mode_by_the_final():
    ends = Section("A", 8, (MelodyNote(0, 1, 69),), None)
    assert infer_mode(7, "major", [ends]) == (9, "dorian")
    assert infer_mode(0, "major", [ends]) == (9, "minor")
    assert infer_mode(2, "major", [ends]) == (2, "major")


ABC = """X:1
T:A Test Jig
R:jig
M:6/8
L:1/8
K:D
A|:"D"d2e {g}f2e|(3ded cB A2G|F2A d2c|B3 A2A|
d2e f2e|d>cd B2G|F2A GEC|1 D3 D2A:|2 D3 D3||
|:a3 f3|g3 e3|f2e d2c|B3 A3|a3 f3|g3 e3|f2e dcB|A3 d3:|

X:2
T:Another
M:C|
L:1/8
K:G
"""


def test_abc_is_read():
    pytest.importorskip("music21")
    parts = dict(split_abc(ABC))
    assert list(parts) == ["1", "2"]
    tune = read_abc(parts["1"], book="oneills1850", number="1")
    assert tune.work == "fiddle/a-test-jig-oneill-1"
    assert (tune.meter.name, tune.tonic, tune.mode) == ("6/8", 2, "major")
    assert tune.tempo == pytest.approx(112 * 1.5)
    assert [s.bars for s in tune.sections] == [8, 8, 8]
    assert [s.label for s in tune.sections] == ["A", "A2", "B"]
    assert tune.order == (0, 1, 2, 2)
    first = tune.sections[0].melody
    assert first[0] == MelodyNote(-0.5, 0.5, 69)
    assert first[1] == MelodyNote(0.0, 1.0, 74)
    assert first[3].pitch == 78  # f sharp from the key; the grace note is gone
    assert [n.duration for n in first if 3 <= n.onset < 3.9] == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_the_books_of_music21_are_read():
    music21 = pytest.importorskip("music21")
    folder = Path(music21.common.getCorpusFilePath())
    book = folder / "airdsAirs" / "book1.abc"
    if not book.is_file():
        pytest.skip("this music21 comes without its corpus")
    text = "".join(body for _, body in list(split_abc(book.read_text("utf-8", "replace")))[:20])
    tunes = [read_abc(b, book="airdsAirs", number=n, volume="book1") for n, b in split_abc(text)]
    assert len(tunes) >= 18
    cockade = tunes[0]
    assert (cockade.meter.name, cockade.tonic) == ("2/4", 7)
    assert [s.bars for s in cockade.sections] == [8, 8]
    eights = sum(s.bars in (4, 8, 16) for t in tunes for s in t.sections)
    assert eights >= 0.85 * sum(len(t.sections) for t in tunes)


def test_a_folder_without_books_is_named(tmp_path):
    with pytest.raises(UserError, match="airdsAirs"):
        read_fiddle_books(tmp_path)


def progression(roots, *, minor=()):
    notes = []
    for k, root in enumerate(roots):
        third = 3 if root in minor else 4
        for p in (36 + root, 48 + root + third, 55 + root, 60 + root):
            notes.append((2.0 * k, 2.0 * k + 2.0, p))
    return np.array(notes, dtype=float)


def test_chords_and_key_of_a_piano_part():
    piano = progression((0, 9, 5, 7, 0, 5, 7, 0), minor=(9,))
    chords = find_chords(piano, np.zeros((0, 3)), 4)
    assert [(c.root, c.quality) for c in chords] == [
        (0, "maj"),
        (9, "min"),
        (5, "maj"),
        (7, "maj"),
        (0, "maj"),
        (5, "maj"),
        (7, "maj"),
        (0, "maj"),
    ]
    assert find_key(piano) == (0, "major")
    assert find_key(piano + np.array([0, 0, 3])) == (3, "major")


def test_a_song_is_read_with_its_bars_and_form(tmp_path):
    mido = pytest.importorskip("mido")
    song = mido.MidiFile(ticks_per_beat=480)
    song.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=600_000)]))

    def add(name, notes):
        events = [(round(480 * a), 1, p) for a, _, p in notes]
        events += [(round(480 * b), 0, p) for _, b, p in notes]
        track, now = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
        for at, on, pitch in sorted(events):
            kind = "note_on" if on else "note_off"
            track.append(mido.Message(kind, note=int(pitch), velocity=90, time=at - now))
            now = at
        song.tracks.append(track)

    piano = progression((0, 0, 9, 9, 5, 5, 7, 7) * 6, minor=(9,))
    steps = np.array([0, 2, 4, 5, 7, 4, 2, 0, 9, 7, 5, 4, 2, 5, 4, 2])
    verse = [(8 + 2 * k, 9.8 + 2 * k, 60 + int(steps[k % 16])) for k in range(16)]
    twice = verse + [(a + 48, b + 48, p) for a, b, p in verse]
    offset = 1.25  # the file's clock does not start on a bar
    add("MELODY", [(a + offset, b + offset, p) for a, b, p in twice])
    add("PIANO", [(a + offset, b + offset, p) for a, b, p in piano])
    (tmp_path / "001").mkdir()
    song.save(tmp_path / "001" / "001.mid")
    (tmp_path / "002").mkdir()
    (tmp_path / "002" / "002.mid").write_bytes(b"no midi")
    tunes, skipped = read_pop909(tmp_path)
    assert len(skipped) == 1
    (tune,) = tunes
    assert (tune.work, tune.tonic, tune.mode) == ("pop909/001", 0, "major")
    assert tune.tempo == pytest.approx(100)
    assert [s.bars for s in tune.sections] == [8]
    assert tune.order == (0, 0)
    assert tune.sections[0].melody[0] == MelodyNote(0.0, 2.0, 60)
    assert [c.root for c in tune.sections[0].chords[:3]] == [5, 7, 0]
