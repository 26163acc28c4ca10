"""Fiddle tunes of three public-domain books, in ABC, as they come with music21.

Aird's Selection (Glasgow, 1778 on), Ryan's Mammoth Collection (Boston, 1883) and O'Neill's Music of
Ireland (Chicago, 1903, "1850 melodies"). Many tunes stand in more than one book, or twice in one:
those notations are real human variants, and ``identity`` finds them by melody.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.corpus.measures import Measure, sections_from_measures
from src.corpus.openewld import slug
from src.corpus.tune import Section, Tune, normalise_meter
from src.errors import UserError

logger = logging.getLogger(__name__)

BOOKS = {
    "airdsAirs": ("aird", "Aird's Selection of Airs"),
    "ryansMammoth": ("ryan", "Ryan's Mammoth Collection"),
    "oneills1850": ("oneill", "O'Neill's Music of Ireland"),
}
LICENCE = "public domain tune; ABC notation distributed with music21"
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MODES = {
    "": "major",
    "maj": "major",
    "ion": "major",
    "m": "minor",
    "min": "minor",
    "aeo": "minor",
    "dor": "dorian",
    "mix": "mixolydian",
    "lyd": "lydian",
    "phr": "phrygian",
    "loc": "locrian",
}
# Beats a minute of a felt beat, by the kind of tune.
RHYTHMS = {
    "reel": 105,
    "hornpipe": 84,
    "clog": 84,
    "jig": 112,
    "slip jig": 112,
    "strathspey": 116,
    "highland fling": 116,
    "waltz": 130,
    "march": 104,
    "air": 88,
}


def music21_corpus() -> Path:
    """The folder of music21's own corpus.

    Raises:
        UserError: music21 is not installed.
    """
    try:
        from music21 import common
    except ImportError as error:
        raise UserError(
            "reading the fiddle books needs music21: pip install -r requirements_corpus.txt"
        ) from error
    return Path(common.getCorpusFilePath())


def read_fiddle_books(folder: str | os.PathLike | None = None) -> tuple[list[Tune], list[str]]:
    """Read the three books, every notation as a tune of its own (see ``identity.merge_works``).

    Args:
        folder: holds the books' folders; None for the installed music21's corpus.

    Returns:
        tunes, and one line for each notation that was skipped and why.

    Raises:
        UserError: music21 is not installed, or the folder has none of the books.
    """
    folder = Path(folder) if folder is not None else music21_corpus()
    tunes: list[Tune] = []
    skipped: list[str] = []
    seen: set[str] = set()
    found = False
    for directory in BOOKS:
        for path in sorted((folder / directory).glob("*.abc")):
            found = True
            text = path.read_text("utf-8", errors="replace")
            for number, body in split_abc(text):
                try:
                    tune = read_abc(body, book=directory, number=number, volume=path.stem)
                except Exception as error:  # music21 raises anything on odd notation
                    skipped.append(f"{path.name} X:{number}: {error!r}")
                    logger.debug("skipped %s X:%s: %r", path, number, error)
                    continue
                if tune.work not in seen:
                    seen.add(tune.work)
                    tunes.append(tune)
    if not found:
        raise UserError(f"{folder} has none of the folders {', '.join(BOOKS)} with .abc files")
    return tunes, skipped


def split_abc(text: str) -> Iterator[tuple[str, str]]:
    """(reference number, notation) of every tune in a file."""
    for part in re.split(r"(?m)^(?=X:)", text)[1:]:
        number = re.match(r"X:\s*(\d*)", part).group(1).lstrip("0") or "0"
        yield number, part.strip() + "\n"


def read_abc(text: str, *, book: str, number: str, volume: str = "") -> Tune:
    """Read one tune in ABC.

    Raises:
        ValueError: it holds no music that can be arranged.
    """
    from music21 import abcFormat

    header = dict(re.findall(r"(?m)^([A-Z]):[ \t]*(.*?)[ \t]*(?:%.*)?$", text)[::-1])
    titles = re.findall(r"(?m)^T:[ \t]*(.*?)[ \t]*$", text)
    title = re.sub(r"\s+--\s+.*$", "", titles[0]).rstrip(".") if titles else "untitled"
    tonic, mode = read_key(header.get("K", "C"))
    handler = abcFormat.ABCHandler()
    handler.tokenize(_clean(text))
    handler.tokenProcess()
    beats, unit = _meter(header.get("M", "4/4"))
    measures = _measures(handler.tokens)
    if (beats, unit) == (4, 4) and _mean_length(measures) < 0.62:
        beats, unit = 2, 2  # reels and hornpipes: two beats of four eighths
    meter, scale = normalise_meter(beats, unit)
    sections, order = sections_from_measures(measures, bar=beats * 4 / unit, scale=scale)
    tonic, mode = infer_mode(tonic, mode, sections)
    code, name = BOOKS[book]
    where = re.sub(r"\D", "", volume) if book == "airdsAirs" else ""
    if book == "ryansMammoth":
        number = slug(volume)
    reference = "-".join(x for x in (code, where, number) if x)
    kind = (header.get("R") or "").lower()
    return Tune(
        work=f"fiddle/{slug(title)}-{reference}"[:120],
        title=title,
        composer="traditional",
        source=name,
        licence=LICENCE,
        meter=meter,
        tonic=tonic,
        mode=mode,
        tempo=_tempo(header.get("Q", ""), kind, meter, scale),
        sections=sections,
        order=order,
    ).check()


def read_key(text: str) -> tuple[int, str]:
    """Tonic and mode of a K: field (``Am``, ``D Mixolydian``, ``Bb``; ``HP`` for the pipes)."""
    if text.strip().lower().startswith("hp"):
        return 9, "mixolydian"
    match = re.match(r"\s*([A-G])([#b]?)\s*([A-Za-z]*)", text)
    if not match:
        return 0, "major"
    tonic = (STEPS[match[1]] + {"#": 1, "b": -1, "": 0}[match[2]]) % 12
    return tonic, MODES.get(match[3].lower()[:3], "major")


def infer_mode(tonic: int, mode: str, sections: Sequence[Section]) -> tuple[int, str]:
    """The mode a tune is in where the K: field gives a signature as if it were a major key.

    Many transcriptions do. All sections that end on the second or sixth degree of the major scale
    are dorian or minor; anything else is left as it is written.
    """
    if mode != "major" or not sections:
        return tonic, mode
    finals = {(s.melody[-1].pitch - tonic) % 12 for s in sections}
    if finals == {2}:
        return (tonic + 2) % 12, "dorian"
    if finals == {9}:
        return (tonic + 9) % 12, "minor"
    return tonic, mode


def _clean(text: str) -> str:
    """What music21 reads wrongly or does not need: quoted fingerings, decorations, long modes."""
    lines = []
    for line in text.replace("\r", "").split("\n"):
        if line.startswith("%") or re.match(r"^[A-JN-SU-WZ]:(?!\|)", line):
            continue
        match = re.match(r"^K:\s*([A-G][#b]?)\s*([A-Za-z]*)", line)
        if match:
            mode = MODES.get(match[2].lower()[:3], "major")
            short = {"major": "", "minor": "m"}.get(mode, mode[:3])
            line = f"K:{match[1]}{short}"
        elif not re.match(r"^[A-Za-z]:", line):
            line = re.sub(r'"[^"]*"|![^!\n]*!|\+[a-z.]+\+', "", line.split("%")[0])
            line = re.sub(r"[`~.JHLMOPRSTuv](?=[\^_=A-Ga-g({\[])", "", line).replace("`", "")
        lines.append(line)
    return "\n".join(lines)


def _meter(text: str) -> tuple[int, int]:
    text = text.strip()
    if text.startswith("C|"):
        return 2, 2
    match = re.match(r"(\d+)/(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (4, 4)


def _tempo(text: str, kind: str, meter, scale: float) -> float:
    match = re.match(r"\s*(\d+)/(\d+)\s*=\s*(\d+)", text)
    if match:
        written = int(match[3]) * int(match[1]) * 4 / int(match[2])  # quarters a minute
        rate = written * scale / meter.pulse
        if 35 <= rate <= 220:
            return rate * meter.pulse
    for name, rate in RHYTHMS.items():
        if name in kind:
            return rate * meter.pulse
    default = 108 if meter.compound else 120 if meter.beats == 3 else 100
    return float(default * meter.pulse)


def _mean_length(measures: list[Measure]) -> float:
    lengths = [n[1] for m in measures for n in m.notes]
    return sum(lengths) / max(1, len(lengths))


def _measures(tokens) -> list[Measure]:
    """Printed measures from music21's tokens."""
    from music21 import abcFormat, pitch

    names: dict[str, int] = {}

    def midi(name: str) -> int:
        if name not in names:
            names[name] = round(pitch.Pitch(name).ps)
        return names[name]

    measures: list[Measure] = []
    current = Measure()
    ending = 0

    def close() -> None:
        nonlocal current
        if current.length > 0:
            current.ending = ending
            measures.append(current)
            current = Measure()

    for token in tokens:
        if isinstance(token, abcFormat.ABCBar):
            bracket = token.isRepeatBracket()
            close()
            if bracket:
                ending = int(bracket)
            elif token.repeatForm in ("end", "bidirectional"):
                if measures:
                    measures[-1].repeat_end = True
                ending = 0
                current.repeat_start = token.repeatForm == "bidirectional"
            elif token.repeatForm == "start":
                current.repeat_start = True
                ending = 0
            elif token.barStyle in ("light-light", "light-heavy", "heavy-light"):
                if measures:
                    measures[-1].double_end = True
                ending = 0
        elif isinstance(token, abcFormat.ABCNote) and not token.inGrace:
            length = float(token.quarterLength)
            if token.activeTuplet is not None:
                length *= float(token.activeTuplet.tupletMultiplier())
            sounding = getattr(token, "subTokens", None) or [token]
            pitches = [midi(n.pitchName) for n in sounding if getattr(n, "pitchName", None)]
            if pitches and not token.isRest:
                tied = token.tie in ("stop", "continue")
                current.notes.append((current.length, length, max(pitches), tied))
            current.length += length
    close()
    return measures
