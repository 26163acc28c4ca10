"""From lines and players to tracks in seconds: levels, panorama, hands."""

from dataclasses import replace

from src.corpus.instruments import PLUCKED
from src.corpus.lines import pick_lead
from src.corpus.melody import fit_register
from src.corpus.performance import PlayedNote, Track
from src.corpus.styles import Band
from src.corpus.timing import drop_collisions, humanise

LONGEST_TAIL = 4.0  # seconds that a last note may sound on
DRUM_SPREAD = 5.0


def mix(melody, band: Band, clock, lead, style, dice, choices) -> list[Track]:
    balance = dice.weighted({"dominant": 0.45, "balanced": 0.4, "weak": 0.15})
    lead_gain = {"dominant": 0.95, "balanced": 0.75, "weak": 0.45}[balance]
    others = {"dominant": 0.5, "balanced": 0.65, "weak": 0.8}[balance]
    choices["melody_level"] = balance
    lag = dice.normal(0.012) + (0.015 if style.family == "jazz" else 0.0)
    choices["melody_lag"] = round(lag, 4)
    tracks: list[Track] = []

    def add(name, program, events, gain, pan, **options):
        notes = humanise(drop_collisions(events), clock, dice, **options)
        if notes:
            drums = options.get("velocity_spread") == DRUM_SPREAD
            tracks.append(
                Track(
                    name, program, drums, notes, round(min(1.0, max(0.05, gain)), 3), round(pan, 2)
                )
            )

    mono = lead.group not in PLUCKED
    add(
        "melody",
        lead.program,
        melody["lead"],
        lead_gain,
        dice.uniform(-0.2, 0.2),
        lag=lag,
        monophonic=mono,
    )
    if melody["second"]:
        other = pick_lead(style, dice, {})
        shift = fit_register([e[2] for e in melody["second"]], other.low, other.high)
        events = [(on, d, p + shift, v) for on, d, p, v in melody["second"]]
        choices["second_lead"] = other.name
        add(
            "melody 2",
            other.program,
            events,
            lead_gain,
            dice.uniform(-0.3, 0.3),
            lag=lag,
            monophonic=other.group not in PLUCKED,
        )
    if melody["voice"]:
        other = lead if dice.chance(0.6) else pick_lead(style, dice, {})
        add(
            "second voice",
            other.program,
            melody["voice"],
            lead_gain * 0.7,
            dice.uniform(-0.4, 0.4),
            lag=lag,
            monophonic=mono,
        )
    if melody["lead"] and dice.chance(0.08):
        other = pick_lead(style, dice, {})
        shift = fit_register([e[2] for e in melody["lead"]], other.low, other.high)
        events = [(on, d, p + shift, v) for on, d, p, v in melody["lead"]]
        choices["doubled_by"] = other.name
        add("melody doubled", other.program, events, lead_gain * 0.6, dice.uniform(-0.5, 0.5))
    for player in band.players:
        if player.is_drums:
            gain, pan, options = (
                others * dice.uniform(0.7, 1.2),
                0.0,
                {"velocity_spread": DRUM_SPREAD},
            )
        elif player.name == "bass":
            gain, pan, options = others * dice.uniform(0.8, 1.3), 0.0, {"monophonic": True}
        else:
            gain, pan, options = others * dice.uniform(0.6, 1.1), dice.uniform(-0.6, 0.6), {}
        add(player.name, player.program, player.events, gain, pan, **options)
    choices["tracks"] = [
        {"name": track.name, "program": track.program, "gain": track.gain, "pan": track.pan}
        for track in tracks
    ]
    return tracks


def trim(tracks: list[Track]) -> tuple[Track, ...]:
    """Start at the first note; no note sounds on long after the others have begun to end."""
    start = min(note.onset for track in tracks for note in track.notes)
    last = max(note.onset for track in tracks for note in track.notes) - start
    trimmed = []
    for track in tracks:
        notes = tuple(
            PlayedNote(
                round(n.onset - start, 5),
                min(n.duration, last + LONGEST_TAIL - (n.onset - start)),
                n.pitch,
                n.velocity,
            )
            for n in track.notes
        )
        trimmed.append(replace(track, notes=notes))
    return tuple(trimmed)
