"""OpenEWLD: public-domain songs as compressed MusicXML lead sheets with chord symbols.

https://github.com/00sapo/OpenEWLD, MIT licence. The lead sheets have one voice, so the few MusicXML
elements that matter are read directly: a general parser takes seconds a song.
"""

import os
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

from src.corpus.measures import Measure, sections_from_measures
from src.corpus.reading import read_each
from src.corpus.tune import Tune, normalise_meter
from src.errors import UserError

LICENCE = "melody and chords public domain; collection MIT"
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DEFAULT_TEMPO = 116.0
MAX_BYTES = 20_000_000  # of one unpacked score

KINDS = {
    "major": "maj",
    "minor": "min",
    "augmented": "aug",
    "diminished": "dim",
    "dominant": "7",
    "major-seventh": "maj7",
    "minor-seventh": "m7",
    "diminished-seventh": "dim7",
    "augmented-seventh": "7#5",
    "half-diminished": "m7b5",
    "major-minor": "mM7",
    "minor-major": "mM7",
    "major-sixth": "6",
    "minor-sixth": "m6",
    "dominant-ninth": "9",
    "major-ninth": "maj9",
    "minor-ninth": "m9",
    "augmented-ninth": "7#5",
    "dominant-11th": "11",
    "minor-11th": "m11",
    "dominant-13th": "13",
    "minor-13th": "m9",
    "suspended-second": "sus2",
    "suspended-fourth": "sus4",
    "power": "5",
    "maj69": "69",
}
# One altered or added degree on a plain kind.
DEGREES = {
    ("7", "alter", 5, 1): "7#5",
    ("7", "alter", 5, -1): "7",
    ("7", "add", 9, -1): "7b9",
    ("7", "add", 9, 1): "7#9",
    ("7", "add", 9, 0): "9",
    ("9", "alter", 9, -1): "7b9",
    ("9", "alter", 9, 1): "7#9",
    ("7", "add", 13, 0): "13",
    ("7", "add", 4, 0): "7sus4",
    ("maj", "add", 9, 0): "add9",
    ("maj", "add", 6, 0): "6",
    ("min", "add", 6, 0): "m6",
    ("min", "alter", 5, -1): "dim",
    ("m7", "alter", 5, -1): "m7b5",
    ("min", "add", 7, 1): "mM7",
    ("maj", "add", 7, 0): "7",
}


def read_openewld(folder: str | os.PathLike) -> tuple[list[Tune], list[str]]:
    """Read every lead sheet below ``folder``.

    Returns:
        tunes, and one line for each file that was skipped and why.

    Raises:
        UserError: there is no lead sheet below ``folder``.
    """
    paths = sorted(Path(folder).rglob("*.mxl"))
    if not paths:
        raise UserError(f"{folder} holds no .mxl lead sheets; unpack the OpenEWLD archive there")
    return read_each(paths, read_lead_sheet)


def slug(text: str) -> str:
    """A title as part of a work's identity: lower case, hyphens."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower().replace("'", "")).strip("-") or "untitled"


def read_lead_sheet(path: str | os.PathLike) -> Tune:
    """Read one ``.mxl`` file.

    Raises:
        ValueError: it holds no music that can be arranged.
    """
    path = Path(path)
    root = read_score(path)
    part = root.find("part")
    if part is None:
        raise ValueError("no part")
    measures, (beats, unit), (tonic, mode), tempo = read_measures(part)
    meter, scale = normalise_meter(beats, unit)
    sections, order = sections_from_measures(measures, bar=beats * 4 / unit, scale=scale)
    title = path.stem.replace("_", " ")
    composer = path.parent.parent.name.replace("_", " ").replace("-", ", ")
    return Tune(
        work=f"openewld/{slug(path.stem)}",
        title=title,
        composer=composer,
        source="OpenEWLD",
        licence=LICENCE,
        meter=meter,
        tonic=tonic,
        mode=mode,
        tempo=tempo,
        sections=sections,
        order=order,
    ).check()


def read_score(path: Path) -> ElementTree.Element:
    """Root element of a MusicXML score, compressed (.mxl) or not.

    Raises:
        ValueError: no score, or too large a one.
    """
    if path.suffix != ".mxl":
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("score too large")
        return ElementTree.fromstring(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.endswith((".xml", ".musicxml")) and not name.startswith("META-INF")
        ]
        if not names:
            raise ValueError("no score inside")
        if archive.getinfo(names[0]).file_size > MAX_BYTES:
            raise ValueError("score too large")
        return ElementTree.fromstring(archive.read(names[0]))


def read_measures(
    part: ElementTree.Element,
) -> tuple[list[Measure], tuple[int, int], tuple[int, str], float]:
    """Measures of one part, the time signature and the key it begins with, and its tempo."""
    measures: list[Measure] = []
    divisions = 1.0
    meter: tuple[int, int] | None = None
    key: tuple[int, str] | None = None
    tempo: float | None = None
    ending = 0
    for element in part.findall("measure"):
        measure = Measure()
        now = 0.0
        onset = 0.0
        for child in element:
            if child.tag == "attributes":
                divisions = float(child.findtext("divisions", str(divisions)))
                if meter is None and child.find("time/beats") is not None:
                    beats = sum(int(b) for b in child.findtext("time/beats").split("+"))
                    meter = (beats, int(child.findtext("time/beat-type")))
                if key is None and child.find("key/fifths") is not None:
                    key = _key(
                        int(child.findtext("key/fifths")), child.findtext("key/mode", "major")
                    )
            elif child.tag in ("direction", "sound") and tempo is None:
                for sound in child.iter("sound"):
                    if sound.get("tempo"):
                        tempo = float(sound.get("tempo"))
            elif child.tag == "harmony":
                chord = _chord(child)
                if chord is not None:
                    at = now + float(child.findtext("offset", "0")) / divisions
                    measure.chords.append((max(0.0, at), *chord))
            elif child.tag in ("backup", "forward"):
                step = float(child.findtext("duration", "0")) / divisions
                now = max(0.0, now + (step if child.tag == "forward" else -step))
            elif child.tag == "barline":
                ending = _barline(child, measure, ending)
            elif child.tag == "note" and child.find("grace") is None:
                length = float(child.findtext("duration", "0")) / divisions
                if child.find("chord") is None:
                    onset, now = now, now + length
                _add_note(child, measure, onset, length)
        measure.length = now
        if ending and not measure.ending:
            measure.ending = ending
        measures.append(measure)
        if any(
            b.find("ending") is not None and b.find("ending").get("type") in ("stop", "discontinue")
            for b in element.findall("barline")
        ):
            ending = 0
    meter = meter or (4, 4)
    while measures and len(measures) % 4 and not measures[-1].notes:
        measures.pop()
    return measures, meter, key or (0, "major"), tempo or DEFAULT_TEMPO


def _add_note(element, measure: Measure, onset: float, length: float) -> None:
    if element.findtext("voice", "1") != "1" or element.find("rest") is not None or length <= 0:
        return
    step = element.findtext("pitch/step")
    if step is None:
        return
    alter = round(float(element.findtext("pitch/alter", "0")))
    pitch = 12 * (int(element.findtext("pitch/octave")) + 1) + STEPS[step] + alter
    tied = any(t.get("type") == "stop" for t in element.findall("tie"))
    if element.find("notations/fermata") is not None:
        measure.fermatas.append(onset + length)
    if element.find("chord") is not None and measure.notes:
        # A written second voice: the melody is on top.
        if pitch > measure.notes[-1][2]:
            measure.notes[-1] = (*measure.notes[-1][:2], pitch, measure.notes[-1][3])
        return
    measure.notes.append((onset, length, pitch, tied))


def _barline(element, measure: Measure, ending: int) -> int:
    repeat = element.find("repeat")
    if repeat is not None:
        if repeat.get("direction") == "forward":
            measure.repeat_start = True
        else:
            measure.repeat_end = True
    if element.findtext("bar-style") in ("light-light", "light-heavy", "heavy-light"):
        measure.double_end = measure.double_end or element.get("location", "right") == "right"
    mark = element.find("ending")
    if mark is not None and mark.get("type") == "start":
        number = re.match(r"\d+", mark.get("number", "1"))
        ending = int(number.group()) if number else 1
    if ending:
        measure.ending = ending
    return ending


def _key(fifths: int, mode: str) -> tuple[int, str]:
    tonic = 7 * fifths % 12
    if (mode or "").strip().lower() == "minor":
        return (tonic + 9) % 12, "minor"
    return tonic, "major"


def _chord(element) -> tuple[int, str, int] | None:
    """(root, quality, bass) of a harmony element; None for "no chord"."""
    step = element.findtext("root/root-step")
    kind = (element.findtext("kind") or "").strip()
    if step is None or kind == "none":
        return None
    root = (STEPS[step] + round(float(element.findtext("root/root-alter", "0")))) % 12
    quality = KINDS.get(kind, "maj")
    for degree in element.findall("degree"):
        change = (
            quality,
            degree.findtext("degree-type", "add"),
            int(degree.findtext("degree-value", "0")),
            round(float(degree.findtext("degree-alter", "0"))),
        )
        quality = DEGREES.get(change, quality)
    bass_step = element.findtext("bass/bass-step")
    if bass_step is None:
        return root, quality, root
    alter = round(float(element.findtext("bass/bass-alter", "0")))
    return root, quality, (STEPS[bass_step] + alter) % 12
