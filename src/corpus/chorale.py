"""Bach's four-part chorales as MusicXML, as they come with music21.

The melody is the soprano, the harmony is read from what the four voices sing on every beat.
Fermatas end phrases. Bach set many hymns several times: those harmonisations are real variants of
one melody, and ``identity`` finds them by melody, whatever the words sung to it.
"""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.corpus.fiddle import music21_corpus
from src.corpus.measures import Measure, sections_from_measures
from src.corpus.openewld import read_measures, read_score, slug
from src.corpus.reading import read_each
from src.corpus.tune import MODE_SCALES, QUALITIES, Tune, normalise_meter
from src.errors import UserError

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
LICENCE = "public domain; encoding distributed with music21"
BEATS_PER_MINUTE = 76.0
SHORTEST_SECTION = 3.5  # bars; shorter phrases are joined
_QUALITIES = ("maj", "min", "7", "m7", "maj7", "dim", "m7b5", "dim7", "sus4", "aug")
_LATE = 0.25  # weight of notes that begin after the beat: most of them pass
_FOREIGN = 1.2  # cost of a note outside the chord
_MISSING = 0.12  # cost of a note of the chord that nobody sings, as a share of all
_ROOT_IN_BASS = 0.1
_SEVENTH = 0.1  # cost of a chord of four notes
# (qualities x roots, 12): which pitch classes belong to each chord
_TONES = np.array(
    [
        [(pitch - root) % 12 in QUALITIES[quality] for pitch in range(12)]
        for quality in _QUALITIES
        for root in range(12)
    ],
    dtype=float,
)
_ROOTS = np.tile(np.arange(12), len(_QUALITIES))

Notes = Sequence[tuple[float, float, int, bool]]  # as in a Measure


def read_chorales(folder: str | os.PathLike | None = None) -> tuple[list[Tune], list[str]]:
    """Read all chorales, each as a tune of its own (see ``identity.merge_works``).

    Args:
        folder: holds the folder ``bach``; None for the installed music21's corpus.

    Returns:
        tunes, and one line for each file that was skipped and why.

    Raises:
        UserError: music21 is not installed, or the folder has no chorales.
    """
    folder = (Path(folder) if folder is not None else music21_corpus()) / "bach"
    paths = sorted(path for suffix in ("mxl", "xml") for path in folder.glob(f"bwv*.{suffix}"))
    if not paths:
        raise UserError(f"{folder} has no chorales (bwv*.mxl)")
    titles = _titles()
    return read_each(paths, lambda path: read_chorale(path, titles=titles))


def read_chorale(path: str | os.PathLike, *, titles: dict[str, str] | None = None) -> Tune:
    """Read one score with parts called Soprano, Alto, Tenor and Bass (others are left out).

    Args:
        path: ``bwv<number>.mxl`` or ``.xml``.
        titles: title by number, such as ``{"269": "Aus meines Herzens Grunde"}``.

    Raises:
        ValueError: it is not in four voices, or holds no music that can be arranged.
    """
    path = Path(path)
    match = re.match(r"bwv(\d+(?:\.\d+)?)", path.stem)
    number = match[1] if match else path.stem
    parts = [read_measures(part) for part in _four_parts(read_score(path))]
    voices = [measures for measures, *_ in parts]
    _, (beats, unit), _, _ = parts[0]
    meter, scale = normalise_meter(beats, unit)
    tonic, mode = _find_key(voices)
    measures = _with_chords(voices, beat=meter.pulse / scale)
    measures = cut_at_fermatas(measures, _fermatas(voices), bar=beats * 4 / unit)
    sections, order = sections_from_measures(measures, bar=beats * 4 / unit, scale=scale)
    # "69.6-a" is another piece than 69.6, not another file of it.
    known = {} if path.stem.endswith("-a") else (titles or {})
    title = known.get(number, path.stem.replace("bwv", "BWV "))
    reference = slug(path.stem.replace("bwv", "bwv "))
    name = slug(title.replace("ß", "ss")) + "-" if number in known else ""
    return Tune(
        work=f"chorale/{name}{reference}",
        title=title,
        composer="hymn tune, harmonised by J. S. Bach",
        source="Bach chorales",
        licence=LICENCE,
        meter=meter,
        tonic=tonic,
        mode=mode,
        tempo=BEATS_PER_MINUTE * meter.pulse,
        sections=sections,
        order=order,
    ).check()


def label_chord(weights: np.ndarray, bass: int) -> tuple[int, str, int]:
    """The chord that explains a sonority best.

    Args:
        weights: how long each of the 12 pitch classes sounds, ``(12,)``, not all 0.
        bass: pitch class of the lowest voice.

    Returns:
        root, quality (a key of QUALITIES) and bass.
    """
    total = weights.sum()
    inside = _TONES @ weights
    missing = _TONES @ (weights == 0)
    score = inside - _FOREIGN * (total - inside) - _MISSING * total * missing
    score -= _SEVENTH * total * (_TONES.sum(axis=1) > 3)
    score += _ROOT_IN_BASS * total * np.equal(_ROOTS, bass)
    best = int(np.argmax(np.round(score, 9)))
    return int(_ROOTS[best]), _QUALITIES[best // 12], bass


def cut_at_fermatas(
    measures: Sequence[Measure], fermatas: Sequence[Sequence[float]], *, bar: float
) -> list[Measure]:
    """Cut a chorale into sections of whole phrases.

    A measure in which a phrase ends and the next begins is cut in two. What stands between repeat
    signs stays whole, and so do phrases that are too short for a section.

    Args:
        measures: as printed.
        fermatas: for each measure, when the phrases in it end (quarter notes from its start).
        bar: length of a full bar in quarter notes.
    """
    starts = np.cumsum([0.0, *(m.length for m in measures)])
    fixed = [0.0, float(starts[-1])]  # where sections are cut anyway
    inside: list[tuple[float, float]] = []  # from repeat sign to repeat sign
    begin = 0.0
    for index, measure in enumerate(measures):
        if measure.repeat_start:
            begin = float(starts[index])
            fixed.append(begin)
        if measure.repeat_end:
            inside.append((begin, float(starts[index + 1])))
            begin = inside[-1][1]
            fixed.append(begin)
    least = SHORTEST_SECTION * bar
    cuts: list[float] = []
    for index, ends in enumerate(fermatas):
        for end in sorted({float(starts[index]) + e for e in ends if e > 0}):
            before = end - max(t for t in [*cuts, *fixed] if t <= end)
            after = min((t for t in fixed if t > end), default=end) - end
            if (
                before >= least
                and after >= least
                and end <= starts[index + 1] + 1e-6
                and not any(a < end < b for a, b in inside)
            ):
                cuts.append(end)
    result: list[Measure] = []
    for start, measure in zip(starts[:-1], measures, strict=True):
        rest, offset = measure, float(start)
        for cut in (c for c in cuts if start + 1e-6 < c <= start + measure.length + 1e-6):
            if cut >= start + measure.length - 1e-6:
                rest.double_end = True
            else:
                first, rest = _split(rest, cut - offset)
                offset = cut
                result.append(first)
        result.append(rest)
    return result


def _split(measure: Measure, at: float) -> tuple[Measure, Measure]:
    """The two parts of a measure in which a section ends ``at`` quarter notes from its start."""
    first = Measure(
        notes=[
            (on, min(length, at - on), *n) for on, length, *n in measure.notes if on < at - 1e-6
        ],
        chords=[c for c in measure.chords if c[0] < at - 1e-6],
        length=at,
        repeat_start=measure.repeat_start,
        double_end=True,
    )
    second = replace(
        measure,
        notes=[(on - at, *n) for on, *n in measure.notes if on >= at - 1e-6],
        chords=[(on - at, *c) for on, *c in measure.chords if on >= at - 1e-6],
        length=measure.length - at,
        repeat_start=False,
    )
    return first, second


def _titles() -> dict[str, str]:
    """Title of each chorale by its number in the catalogue of Bach's works."""
    from music21.corpus import chorales

    return {
        number: entry["title"].replace("\u2019", "'")
        for number, entry in chorales.ChoraleListRKBWV().byBWV.items()
    }


def _four_parts(score: ElementTree.Element) -> list[ElementTree.Element]:
    names = {
        part.get("id"): (part.findtext("part-name") or "").strip()
        for part in score.iter("score-part")
    }
    parts = []
    for voice in VOICES:
        found = [part for part in score.findall("part") if names[part.get("id")].startswith(voice)]
        if not found:
            raise ValueError(f"no part called {voice}")
        parts.append(found[0])
    return parts


def _fermatas(voices: Sequence[Sequence[Measure]]) -> list[list[float]]:
    """Ends of phrases by measure: the soprano's fermatas, or those of the voice that has most."""
    counts = [sum(len(m.fermatas) for m in voice) for voice in voices]
    best = 0 if counts[0] >= 2 else int(np.argmax(counts))
    found = [measure.fermatas for measure in voices[best]]
    return [found[i] if i < len(found) else [] for i in range(len(voices[0]))]


def _find_key(voices: Sequence[Sequence[Measure]]) -> tuple[int, str]:
    """Tonic, the last bass note, and the mode whose scale holds most of what is sung."""
    last = [note for measure in voices[-1] for note in measure.notes][-1]
    tonic = last[2] % 12
    histogram = np.zeros(12)
    for voice in voices:
        for measure in voice:
            for _, length, pitch, _ in measure.notes:
                histogram[pitch % 12] += length
    thirds = histogram[(tonic + 4) % 12] >= histogram[(tonic + 3) % 12]
    modes = [m for m, scale in MODE_SCALES.items() if (4 in scale) == thirds and m != "locrian"]
    return tonic, max(modes, key=lambda m: histogram[(tonic + np.array(MODE_SCALES[m])) % 12].sum())


def _with_chords(voices: Sequence[Sequence[Measure]], *, beat: float) -> list[Measure]:
    """The soprano's measures with a chord at their start and wherever the harmony changes."""
    result: list[Measure] = []
    for index, measure in enumerate(voices[0]):
        last: tuple[int, str, int] | None = None  # every bar says its chord
        sung = [voice[index].notes if index < len(voice) else [] for voice in voices]
        chords: list[tuple[float, int, str, int]] = []
        for number in range(int(np.ceil(measure.length / beat - 1e-6))):
            chord = _chord_of_beat(sung, number * beat, min((number + 1) * beat, measure.length))
            if chord is not None and chord != last:
                chords.append((number * beat, *chord))
                last = chord
        result.append(replace(measure, chords=chords))
    return result


def _chord_of_beat(sung: Sequence[Notes], start: float, end: float) -> tuple[int, str, int] | None:
    weights = np.zeros(12)
    bass: int | None = None
    for notes in sung:  # from the soprano down
        for onset, length, pitch, _ in notes:
            overlap = min(onset + length, end) - max(onset, start)
            if overlap > 1e-6:
                weights[pitch % 12] += overlap * (_LATE if onset > start + 1e-6 else 1.0)
                if onset <= start + 1e-6:
                    bass = pitch % 12
    if not weights.any():
        return None
    return label_chord(weights, int(np.argmax(weights)) if bass is None else bass)
