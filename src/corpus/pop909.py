"""POP909: pop songs as MIDI, a melody and a piano arrangement by hand for each.

https://github.com/music-x-lab/POP909-Dataset, MIT licence. The files keep the beat on the grid of
the MIDI clock but not the bar; bars, chords, key and form are found here.
"""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from src.corpus.reading import read_each
from src.corpus.tune import Chord, MelodyNote, Meter, Section, Tune
from src.errors import UserError

LICENCE = "MIT (POP909)"
METER = Meter(4, 4)
BAR = 4  # beats
PHRASE = 8  # bars
SAME = 0.8  # share of equal notes that makes two phrases one section
# Krumhansl and Kessler (1982), profiles of major and minor keys.
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
TEMPLATES = (
    ("maj", (0, 4, 7), 0.0),
    ("min", (0, 3, 7), 0.0),
    ("7", (0, 4, 7, 10), 0.08),
    ("maj7", (0, 4, 7, 11), 0.06),
    ("m7", (0, 3, 7, 10), 0.05),
    ("sus4", (0, 5, 7), 0.06),
    ("dim", (0, 3, 6), 0.08),
    ("add9", (0, 4, 7, 2), 0.08),
)


@dataclass(frozen=True)
class _Part:
    """Notes of one MIDI track, (n, 3): onset and end in beats, pitch."""

    notes: np.ndarray


def read_pop909(folder: str | os.PathLike) -> tuple[list[Tune], list[str]]:
    """Read every song ``NNN/NNN.mid`` below ``folder``.

    Returns:
        tunes, and one line for each song that was skipped and why.

    Raises:
        UserError: mido is not installed, or the folder has no such files.
    """
    paths = sorted(p for p in Path(folder).rglob("*.mid") if p.stem == p.parent.name)
    if not paths:
        raise UserError(f"{folder} holds no NNN/NNN.mid files; unpack the POP909 archive there")
    return read_each(paths, read_song)


def read_song(path: str | os.PathLike) -> Tune:
    """Read one song.

    Raises:
        ValueError: it has no melody or no piano.
        UserError: mido is not installed.
    """
    path = Path(path)
    parts, tempo = _tracks(path)
    if "MELODY" not in parts or len(parts["MELODY"].notes) < 24:
        raise ValueError("no MELODY track")
    melody = parts["MELODY"].notes
    harmony = [parts[name].notes for name in ("PIANO", "BRIDGE") if name in parts]
    if not harmony:
        raise ValueError("no PIANO track")
    piano = np.concatenate(harmony)
    start = _downbeat(parts.get("PIANO", _Part(piano)).notes)
    first = float(min(melody[:, 0].min(), piano[:, 0].min())) - start
    lift = BAR * max(0, int(np.ceil(-first / BAR)))  # bars before the first found bar line
    shift = np.array([lift - start, lift - start, 0])
    melody, piano = melody + shift, piano + shift
    tonic, mode = find_key(np.concatenate([piano, melody]))
    bars = int(np.ceil(melody[:, 1].max() / BAR))
    chords = find_chords(piano, melody, bars)
    sections, order = _form(_tidy(melody), chords, bars)
    return Tune(
        work=f"pop909/{path.stem}",
        title=f"POP909 {path.stem}",
        composer="",
        source="POP909",
        licence=LICENCE,
        meter=METER,
        tonic=tonic,
        mode=mode,
        tempo=tempo,
        sections=sections,
        order=order,
    ).check()


def _tracks(path: Path) -> tuple[dict[str, _Part], float]:
    """Parts by track name, and the tempo in beats a minute."""
    try:
        import mido
    except ImportError as error:
        raise UserError(
            "reading POP909 needs mido: pip install -r requirements_corpus.txt"
        ) from error
    song = mido.MidiFile(path)
    tempo = 500_000
    parts: dict[str, _Part] = {}
    for track in song.tracks:
        now = 0
        name = ""
        sounding: dict[int, int] = {}
        notes: list[tuple[float, float, int]] = []
        for message in track:
            now += message.time
            if message.type == "track_name":
                name = message.name.strip()
            elif message.type == "set_tempo" and now == 0:
                tempo = message.tempo
            elif message.type == "note_on" and message.velocity > 0:
                sounding.setdefault(message.note, now)
            elif message.type in ("note_on", "note_off") and message.note in sounding:
                begin = sounding.pop(message.note)
                if now > begin:
                    beat = song.ticks_per_beat
                    notes.append((begin / beat, now / beat, message.note))
        if notes:
            parts[name] = _Part(np.array(sorted(notes), dtype=float))
    return parts, 60e6 / tempo


def _downbeat(piano: np.ndarray) -> float:
    """Place of a bar line in beats: where low notes begin and the harmony changes."""
    onsets = piano[:, 0]
    # Fine phase: the mean angle of the onsets on a grid of sixteenths.
    angle = np.angle(np.exp(2j * np.pi * onsets * 4).mean())
    fine = float(angle / (2 * np.pi) / 4)
    grid = np.round((onsets - fine) * 4).astype(int)
    weight = np.exp(-(piano[:, 2] - 36) / 12.0)
    length = np.minimum(piano[:, 1] - onsets, 4.0)
    scores = np.array([(weight * length)[grid % 16 == k].sum() for k in range(16)])
    scores += 0.3 * (np.roll(scores, 8))  # half bars are strong too
    return fine + int(scores.argmax()) / 4


def find_key(notes: np.ndarray) -> tuple[int, str]:
    """Tonic and mode by correlation with key profiles."""
    profile = np.zeros(12)
    np.add.at(profile, notes[:, 2].astype(int) % 12, np.minimum(notes[:, 1] - notes[:, 0], 2.0))
    best = (-2.0, 0, "major")
    for mode, template in (("major", MAJOR), ("minor", MINOR)):
        for tonic in range(12):
            value = float(np.corrcoef(np.roll(template, tonic), profile)[0, 1])
            best = max(best, (value, tonic, mode))
    return best[1], best[2]


def find_chords(piano: np.ndarray, melody: np.ndarray, bars: int) -> list[Chord]:
    """Chords by half bars: Viterbi over templates matched with the piano's pitch classes.

    Args:
        piano: (n, 3) onset, end, pitch in beats from the first bar line.
        melody: the same, counted with little weight.
    """
    step = 2.0
    count = bars * 2
    profile = np.zeros((count, 12))
    bass = np.zeros((count, 12))
    lowest = np.full(count, 200.0)
    for part, weight in ((piano, 1.0), (melody, 0.25)):
        for onset, end, pitch in part:
            end = min(end, onset + 6.0)
            for slot in range(max(0, int(onset // step)), min(count, int(np.ceil(end / step)))):
                low, high = max(onset, slot * step), min(end, (slot + 1) * step)
                if high > low:
                    profile[slot, int(pitch) % 12] += weight * (high - low)
                    if weight == 1.0 and pitch < lowest[slot] and high - low > 0.2:
                        lowest[slot] = pitch
    for slot in range(count):
        if lowest[slot] < 100:
            bass[slot, int(lowest[slot]) % 12] = 1.0
    profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-9)
    states = [(root, q, i, cost) for root in range(12) for q, i, cost in TEMPLATES]
    templates = np.zeros((len(states), 12))
    for row, (root, _, intervals, _) in enumerate(states):
        templates[row, [(root + i) % 12 for i in intervals]] = 1.0
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    roots = np.array([s[0] for s in states])
    cost = np.array([s[3] for s in states])[None] - profile @ templates.T - 0.25 * bass[:, roots]
    total, back = cost[0], np.zeros((count, len(states)), dtype=int)
    for slot in range(1, count):
        change = 0.06 if slot % 2 == 0 else 0.14
        best = int(total.argmin())
        stay = total <= total[best] + change
        back[slot] = np.where(stay, np.arange(len(states)), best)
        total = np.minimum(total, total[best] + change) + cost[slot]
    path = [int(total.argmin())]
    for slot in range(count - 1, 0, -1):
        path.append(int(back[slot, path[-1]]))
    chords: list[Chord] = []
    for slot, state in enumerate(reversed(path)):
        root, quality, intervals, _ = states[state]
        low = int(lowest[slot]) % 12 if lowest[slot] < 100 else root
        low = low if (low - root) % 12 in intervals else root
        last = chords[-1] if chords else None
        if last and (last.root, last.quality, last.bass) == (root, quality, low):
            chords[-1] = Chord(last.onset, last.duration + step, root, quality, low)
        else:
            chords.append(Chord(slot * step, step, root, quality, low))
    return chords


def _tidy(melody: np.ndarray) -> list[list[float]]:
    """Melody on a grid of sixteenths (triplets where they fit better), without overlaps."""
    notes: list[list[float]] = []
    for onset, end, pitch in melody[np.argsort(melody[:, 0])]:
        fine = round(onset * 4) / 4
        triple = round(onset * 3) / 3
        on = triple if abs(triple - onset) < 0.3 * abs(fine - onset) else fine
        length = max(0.25, round((end - on) * 4) / 4)
        if notes and on <= notes[-1][0] + 1e-6:
            if pitch > notes[-1][2]:
                notes[-1] = [on, length, pitch]
            continue
        if notes and notes[-1][0] + notes[-1][1] > on:
            notes[-1][1] = on - notes[-1][0]
        notes.append([on, length, pitch])
    # Sung lines are written short; a note lasts to the next one if the gap is small.
    for note, following in pairwise(notes):
        if following[0] - (note[0] + note[1]) <= 0.5:
            note[1] = following[0] - note[0]
    return notes


def _form(notes, chords: list[Chord], bars: int) -> tuple[tuple[Section, ...], tuple[int, ...]]:
    """Phrases of eight bars from where the melody sets in; phrases alike are one section."""
    filled = np.zeros(bars + 1, dtype=bool)
    for on, length, _ in notes:
        filled[int(on // BAR) : int((on + length - 0.01) // BAR) + 1] = True
    runs: list[list[int]] = []
    for bar in np.flatnonzero(filled[:bars]).tolist():
        if runs and bar - runs[-1][1] <= 2:
            runs[-1][1] = bar
        else:
            runs.append([bar, bar])
    sections: list[Section] = []
    order: list[int] = []
    for first, last in runs:
        onsets = [n[0] for n in notes if first * BAR <= n[0] < (first + 1) * BAR]
        if onsets and min(onsets) - first * BAR >= 1.5 and last - first >= 4:
            first += 1  # the first bar only held a pickup
        for start in range(first, last + 1, PHRASE):
            length = min(PHRASE, last + 1 - start)
            if length < 3 and order:
                continue
            section = _section(notes, chords, start, length, pickup=start == first)
            if len(section.melody) < 4:
                continue
            known = next((i for i, s in enumerate(sections) if alike(s, section) >= SAME), None)
            if known is None:
                known = len(sections)
                label = chr(ord("A") + known % 26) + ("" if known < 26 else str(known // 26))
                sections.append(Section(label, section.bars, section.melody, section.chords))
            order.append(known)
    return tuple(sections), tuple(order)


def _section(notes, chords, start: int, length: int, *, pickup: bool) -> Section:
    low, high = start * BAR, (start + length) * BAR
    earliest = low - BAR * 0.75 if pickup else low
    melody = tuple(
        MelodyNote(round(on - low, 4), round(min(duration, high - on), 4), int(pitch))
        for on, duration, pitch in notes
        if earliest <= on < high
    )
    inside = tuple(
        Chord(
            max(c.onset, low) - low, min(c.end, high) - max(c.onset, low), c.root, c.quality, c.bass
        )
        for c in chords
        if c.onset < high and c.end > low
    )
    return Section("", length, melody, inside or None)


def alike(a: Section, b: Section) -> float:
    """Share of notes of two phrases with the same place and pitch (0 if lengths differ)."""
    if a.bars != b.bars:
        return 0.0
    first = {(round(n.onset * 2), n.pitch) for n in a.melody if n.onset >= 0}
    second = {(round(n.onset * 2), n.pitch) for n in b.melody if n.onset >= 0}
    return 2 * len(first & second) / max(1, len(first) + len(second))
