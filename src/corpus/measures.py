"""From printed measures to sections: pickups, ties, repeats, endings."""

from dataclasses import dataclass, field

from src.corpus.tune import Chord, MelodyNote, Section

LONGEST_SECTION = 12  # bars; longer parts are cut into phrases of eight
PHRASE = 8
TOLERANCE = 0.01  # quarter notes


@dataclass
class Measure:
    """One printed measure; times in quarter notes from its start.

    ``notes`` holds (onset, duration, pitch, tied to the note before); ``chords`` holds (onset,
    root, quality, bass). ``ending`` is the number of a first or second ending, 0 outside;
    ``fermatas`` are the times at which held notes end.
    """

    notes: list[tuple[float, float, int, bool]] = field(default_factory=list)
    chords: list[tuple[float, int, str, int]] = field(default_factory=list)
    length: float = 0.0
    repeat_start: bool = False
    repeat_end: bool = False
    ending: int = 0
    double_end: bool = False
    fermatas: list[float] = field(default_factory=list)


def split_parts(measures: list[Measure]) -> list[tuple[list[Measure], bool]]:
    """Cut at repeat signs and double bars; returns (measures, repeated) in printed order.

    A repeat without a sign at its start goes back to the last cut.
    """
    parts: list[tuple[list[Measure], bool]] = []
    current: list[Measure] = []

    for index, measure in enumerate(measures):
        following = measures[index + 1] if index + 1 < len(measures) else None
        if measure.repeat_start and current:
            parts.append((current, False))
            current = []
        current.append(measure)
        if measure.repeat_end:
            # The second ending belongs to the repeated part.
            if following is not None and following.ending > 1 and measure.ending >= 1:
                continue
            parts.append((current, True))
            current = []
        elif measure.double_end or (
            measure.ending > 1 and (following is None or following.ending != measure.ending)
        ):
            parts.append((current, any(m.repeat_end for m in current)))
            current = []
    if current:
        parts.append((current, False))
    return _join_fragments(parts)


def _join_fragments(
    parts: list[tuple[list[Measure], bool]],
) -> list[tuple[list[Measure], bool]]:
    """A part of one or two measures is not a section: put it with its neighbour."""
    result: list[tuple[list[Measure], bool]] = []
    carried: list[Measure] = []
    for measures, repeated in parts:
        measures = carried + measures
        carried = []
        if len(measures) <= 2 and not repeated:
            carried = measures
            continue
        result.append((measures, repeated))
    if carried:
        if result:
            measures, repeated = result.pop()
            if repeated:
                result.append((measures, True))
                result.append((carried, False))
            else:
                result.append((measures + carried, False))
        else:
            result.append((carried, False))
    return result


def unfold(measures: list[Measure], repeated: bool) -> list[list[Measure]]:
    """The passes of a part: one, or two with their endings."""
    if not repeated:
        return [measures]
    first = [m for m in measures if m.ending in (0, 1)]
    second = [m for m in measures if m.ending != 1]
    return [first, second]


def sections_from_measures(
    measures: list[Measure], *, bar: float, scale: float = 1.0
) -> tuple[tuple[Section, ...], tuple[int, ...]]:
    """Sections and the order in which they are played.

    Args:
        measures: as printed.
        bar: length of a full bar in quarter notes, before scaling.
        scale: factor for all times (see ``normalise_meter``).

    Returns:
        distinct sections labelled A, B, ... (a variant ending makes A2), and indices into them.
    """
    sections: list[Section] = []
    order: list[int] = []
    letters: dict[tuple, str] = {}
    last_chord: tuple[int, str, int] | None = None
    has_chords = any(m.chords for m in measures)
    for part, repeated in split_parts(measures):
        for played in unfold(part, repeated):
            laid_out, last_chord = _lay_out(played, bar, scale, has_chords, last_chord)
            for section in laid_out:
                known = next((i for i, s in enumerate(sections) if _same_music(s, section)), None)
                if known is None:
                    key = _opening(section)
                    if key not in letters:
                        letters[key] = _letter(len(letters))
                        label = letters[key]
                    else:
                        count = sum(s.label.rstrip("0123456789") == letters[key] for s in sections)
                        label = f"{letters[key]}{count + 1}"
                    known = len(sections)
                    sections.append(Section(label, section.bars, section.melody, section.chords))
                order.append(known)
    return tuple(sections), tuple(order)


def _letter(index: int) -> str:
    return chr(ord("A") + index % 26) * (index // 26 + 1)


def _same_music(a: Section, b: Section) -> bool:
    return a.bars == b.bars and a.melody == b.melody and a.chords == b.chords


def _opening(section: Section) -> tuple:
    """What two sections share that are called A and A2: bars and the first notes."""
    notes = [n for n in section.melody if n.onset >= 0][:6]
    return tuple((round(n.onset, 2), n.pitch % 12) for n in notes)


def _lay_out(played, bar, scale, has_chords, last_chord):
    """Sections of one pass of a part, cut into phrases, and the last chord."""
    pickup: Measure | None = None
    body = list(played)
    if len(body) > 1 and (body[0].length < bar - TOLERANCE or _only_pickup(body[0], bar)):
        pickup = body.pop(0)
    notes: list[list[float]] = []
    if pickup is not None:
        for onset, duration, pitch, _ in pickup.notes:
            notes.append([onset - pickup.length, duration, pitch])
    changes: list[tuple[float, int, str, int]] = []
    start = 0.0
    bars = 0
    for index, measure in enumerate(body):
        # A measure cut in two by a repeat sign: the second half completes the first.
        previous = body[index - 1] if index else None
        if (
            previous is not None
            and 0 < measure.length < bar - TOLERANCE
            and abs(previous.length + measure.length - bar) < TOLERANCE
        ):
            start += previous.length - bar
            bars -= 1
        for onset, duration, pitch, tied in measure.notes:
            if tied and notes and notes[-1][2] == pitch:
                notes[-1][1] = start + onset + duration - notes[-1][0]
            else:
                notes.append([start + onset, duration, pitch])
        changes += [(start + onset, *chord) for onset, *chord in measure.chords]
        count = max(1, round(measure.length / bar + 0.25))
        start += count * bar
        bars += count
    result: list[Section] = []
    for first, length in _phrases(bars):
        low, high = first * bar, (first + length) * bar
        inside = [
            MelodyNote(
                round((on - low) * scale, 4),
                round(min(duration, max(high - on, 0.05)) * scale, 4),
                int(pitch),
            )
            for on, duration, pitch in notes
            if (low <= on + 1e-6 or first == 0) and on < high - 1e-6
        ]
        chords = None
        if has_chords:
            chords, last_chord = _chords_between(changes, low, high, scale, last_chord)
        if inside:
            inside.sort(key=lambda n: n.onset)
            result.append(Section("", length, tuple(inside), chords))
    return result, last_chord


def _only_pickup(measure: Measure, bar: float) -> bool:
    """A full measure that holds nothing but rests and, in its later part, a pickup."""
    if measure.chords or measure.length > bar + TOLERANCE or not measure.notes:
        return False
    return measure.notes[0][0] >= 0.37 * bar and not measure.notes[0][3]


def _phrases(bars: int) -> list[tuple[int, int]]:
    """(first bar, bars) of each phrase of a part."""
    if bars <= LONGEST_SECTION:
        return [(0, bars)] if bars else []
    starts = list(range(0, bars, PHRASE))
    if bars - starts[-1] < 4:
        starts.pop()
    return [(a, b - a) for a, b in zip(starts, [*starts[1:], bars], strict=True)]


def _chords_between(changes, low, high, scale, last):
    """Chords sounding in [low, high), the first carried over from before."""
    inside = [c for c in changes if low - 1e-6 <= c[0] < high - 1e-6]
    before = [c for c in changes if c[0] < low - 1e-6]
    carried = tuple(before[-1][1:]) if before else last
    if carried is not None and (not inside or inside[0][0] > low + 1e-6):
        inside.insert(0, (low, *carried))
    elif inside and inside[0][0] > low + 1e-6:
        inside[0] = (low, *inside[0][1:])
    chords = []
    for index, (onset, root, quality, bass) in enumerate(inside):
        end = inside[index + 1][0] if index + 1 < len(inside) else high
        if end - onset > TOLERANCE:
            chords.append(
                Chord(
                    round((onset - low) * scale, 4),
                    round((end - onset) * scale, 4),
                    root,
                    quality,
                    bass,
                )
            )
    return tuple(chords), (tuple(inside[-1][1:]) if inside else last)
