"""The accompaniment styles, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from src.corpus import instruments as gm


@dataclass(frozen=True)
class Layer:
    """One chord player: patterns to choose from, programs, lowest note, probability of playing."""

    patterns: tuple[str, ...]
    programs: tuple[int, ...]
    low: int = 52
    chance: float = 1.0


@dataclass(frozen=True)
class Style:
    """A way to accompany; see the module."""

    name: str
    family: str
    layers: tuple[Layer, ...]
    basses: tuple[str, ...] = ()
    bass_programs: tuple[int, ...] = gm.ELECTRIC_BASS
    drums: tuple[str, ...] = ()
    bass_chance: float = 1.0
    drum_chance: float = 1.0
    swing: tuple[float, float] = (0.5, 0.5)
    tempo: float = 1.0
    rubato: float = 0.0
    leads: Mapping[str, float] = field(default_factory=dict)


PIANO_LAYER = gm.PIANOS + gm.ELECTRIC_PIANOS
STYLES: dict[str, Style] = {
    s.name: s
    for s in (
        Style(
            "rock",
            "band",
            (
                Layer(
                    ("eighths", "syncopated", "strum"), gm.LOUD_GUITARS + gm.ELECTRIC_GUITARS, 48
                ),
                Layer(("pad", "block"), gm.ORGANS + gm.STRINGS, 55, 0.4),
            ),
            ("eighth_pump", "syncopated_bass"),
            gm.ELECTRIC_BASS,
            ("rock",),
            leads=gm.POP_LEADS,
        ),
        Style(
            "pop",
            "band",
            (
                Layer(("syncopated", "pulse", "arpeggio"), PIANO_LAYER, 52),
                Layer(("strum", "arpeggio"), gm.ACOUSTIC_GUITARS + gm.ELECTRIC_GUITARS, 52, 0.6),
                Layer(("pad",), gm.STRINGS + gm.PADS + gm.CHOIRS, 57, 0.5),
            ),
            ("syncopated_bass", "eighth_pump", "held"),
            gm.ELECTRIC_BASS + gm.SYNTH_BASS,
            ("rock", "ballad", "half_time", "disco"),
            drum_chance=0.9,
            leads=gm.POP_LEADS,
        ),
        Style(
            "ballad",
            "band",
            (
                Layer(("rolled", "arpeggio", "block"), gm.PIANOS + gm.ELECTRIC_PIANOS, 54),
                Layer(("pad",), gm.STRINGS + gm.PADS, 55, 0.6),
            ),
            ("held", "syncopated_bass", "dotted"),
            gm.ELECTRIC_BASS + gm.UPRIGHT,
            ("ballad", "brushes"),
            drum_chance=0.7,
            tempo=0.8,
            rubato=0.02,
            leads=gm.POP_LEADS,
        ),
        Style(
            "swing",
            "jazz",
            (
                Layer(("charleston", "pulse"), (*gm.PIANOS, 26, 4, 11), 53),
                Layer(("pulse",), (26, 24), 52, 0.35),
            ),
            ("walking",),
            gm.UPRIGHT,
            ("swing", "brushes"),
            drum_chance=0.85,
            swing=(0.58, 0.68),
            tempo=1.1,
            leads=gm.JAZZ_LEADS,
        ),
        Style(
            "jazz ballad",
            "jazz",
            (Layer(("block", "charleston", "rolled"), (*gm.PIANOS, 4, 26), 52),),
            ("held", "root_fifth"),
            gm.UPRIGHT,
            ("brushes",),
            drum_chance=0.6,
            swing=(0.55, 0.66),
            tempo=0.75,
            rubato=0.04,
            leads=gm.JAZZ_LEADS,
        ),
        Style(
            "bossa nova",
            "latin",
            (Layer(("bossa",), (24, 24, 26, 4), 52), Layer(("pad",), gm.STRINGS, 57, 0.3)),
            ("dotted",),
            (*gm.UPRIGHT, 33),
            ("bossa", "latin"),
            drum_chance=0.8,
            leads={"voice": 3, "flute": 2, "reed": 2, "guitar": 2, "brass": 0.5, "mallet": 1},
        ),
        Style(
            "tango",
            "latin",
            (Layer(("habanera", "pulse"), (21, 23, 0, 24), 52),),
            ("habanera_bass",),
            gm.UPRIGHT,
            ("latin", "tambourine"),
            drum_chance=0.35,
            leads={"strings": 3, "reed": 3, "voice": 2, "piano": 1, "guitar": 1},
        ),
        Style(
            "salsa",
            "latin",
            (
                Layer(("syncopated", "sixteenth_arpeggio"), gm.PIANOS, 57),
                Layer(("block",), (61,), 57, 0.3),
            ),
            ("dotted", "syncopated_bass"),
            gm.ELECTRIC_BASS,
            ("latin",),
            tempo=1.1,
            leads={"brass": 3, "flute": 2, "voice": 3, "mallet": 1},
        ),
        Style(
            "march",
            "acoustic",
            (Layer(("after_beat",), (58, 60, 61, 21, 0), 50),),
            ("root_fifth",),
            (58, 32, 43),
            ("march", "tambourine"),
            drum_chance=0.7,
            leads={"brass": 4, "reed": 2, "flute": 2, "piano": 1, "voice": 1},
        ),
        Style(
            "oom-pah",
            "acoustic",
            (Layer(("after_beat", "stride"), (21, 0, 3, 24, 23), 52),),
            ("root_fifth",),
            (32, 58, 33),
            ("waltz", "brushes", "march"),
            drum_chance=0.45,
            leads={"reed": 3, "strings": 2, "voice": 3, "brass": 2, "piano": 1},
        ),
        Style(
            "folk strum",
            "folk",
            (
                Layer(("strum",), (*gm.ACOUSTIC_GUITARS, 105), 52),
                Layer(("strum", "tremolo"), (105, 15, 25), 60, 0.25),
            ),
            ("root_fifth", "held"),
            (*gm.UPRIGHT, 33),
            ("frame", "tambourine", "brushes"),
            bass_chance=0.5,
            drum_chance=0.35,
            leads=gm.FOLK_LEADS,
        ),
        Style(
            "fingerpicking",
            "folk",
            (Layer(("picking", "arpeggio"), gm.FOLK_PLUCK, 52),),
            ("held",),
            gm.UPRIGHT,
            bass_chance=0.2,
            rubato=0.02,
            leads=gm.FOLK_LEADS,
        ),
        Style(
            "ceilidh",
            "folk",
            (
                Layer(("after_beat", "pulse"), (0, 21, 25), 54),
                Layer(("drone",), (*gm.SQUEEZE, 48), 48, 0.3),
            ),
            ("root_fifth",),
            (*gm.UPRIGHT, 33, 0),
            ("frame", "march"),
            drum_chance=0.6,
            leads=gm.FOLK_LEADS,
        ),
        Style(
            "reggae",
            "band",
            (
                Layer(("skank",), (27, 28, 0, 16), 57),
                Layer(("gated", "pad"), gm.ORGANS, 55, 0.5),
            ),
            ("reggae",),
            gm.ELECTRIC_BASS,
            ("one_drop",),
            tempo=0.85,
            leads=gm.POP_LEADS,
        ),
        Style(
            "disco",
            "band",
            (
                Layer(("funk", "syncopated"), (27, 28, 4, 7), 55),
                Layer(("pad", "tremolo"), gm.STRINGS, 60, 0.6),
            ),
            ("octaves",),
            gm.ELECTRIC_BASS + gm.SYNTH_BASS,
            ("disco",),
            tempo=1.05,
            leads=gm.POP_LEADS,
        ),
        Style(
            "funk",
            "band",
            (Layer(("funk",), (27, 28, 7, 4), 55), Layer(("block",), (61, 62, 16), 57, 0.4)),
            ("funk_bass",),
            (33, 36, 37),
            ("funk",),
            tempo=0.9,
            swing=(0.5, 0.54),
            leads=gm.POP_LEADS,
        ),
        Style(
            "blues shuffle",
            "band",
            (Layer(("pulse", "eighths", "charleston"), (0, 3, 27, 29, 16), 50),),
            ("walking", "eighth_pump"),
            gm.ELECTRIC_BASS + gm.UPRIGHT,
            ("shuffle",),
            swing=(0.62, 0.68),
            leads={"voice": 3, "guitar": 3, "reed": 2, "piano": 1, "organ": 1},
        ),
        Style(
            "country",
            "band",
            (
                Layer(("after_beat", "strum"), (25, 27), 54),
                Layer(("picking",), (105, 25), 57, 0.35),
            ),
            ("root_fifth",),
            gm.ELECTRIC_BASS + gm.UPRIGHT,
            ("brushes", "rock", "shuffle"),
            drum_chance=0.8,
            leads={"voice": 4, "strings": 2, "guitar": 2, "reed": 1},
        ),
        Style(
            "electronic",
            "electronic",
            (
                Layer(("gated", "sixteenth_arpeggio", "syncopated"), gm.SYNTHS, 54),
                Layer(("pad",), gm.PADS, 57, 0.6),
            ),
            ("off_beat", "octaves", "eighth_pump"),
            gm.SYNTH_BASS,
            ("four_on_floor",),
            tempo=1.05,
            leads=gm.SYNTH_LEADS,
        ),
        Style(
            "trap",
            "electronic",
            (
                Layer(("arpeggio", "block"), (10, 11, 4, 8, 108), 57),
                Layer(("pad",), gm.PADS, 52, 0.5),
            ),
            ("held", "syncopated_bass"),
            gm.SYNTH_BASS,
            ("half_time",),
            tempo=0.95,
            leads=gm.SYNTH_LEADS,
        ),
        Style(
            "ambient",
            "electronic",
            (
                Layer(("pad", "drone"), gm.PADS + gm.CHOIRS, 50),
                Layer(("arpeggio",), (11, 46, 88, 98), 64, 0.5),
            ),
            ("held", "pedal"),
            (*gm.SYNTH_BASS, 43),
            bass_chance=0.5,
            tempo=0.75,
            rubato=0.03,
            leads={"voice": 2, "flute": 2, "mallet": 2, "piano": 2, "strings": 1, "synth": 1},
        ),
        Style(
            "chamber",
            "classical",
            (Layer(("pulse", "alberti", "block", "eighths"), (48, 0, 45, 6, 46), 53),),
            ("held", "root_fifth"),
            (42, 43, 70),
            bass_chance=0.7,
            rubato=0.04,
            leads=gm.CLASSIC_LEADS,
        ),
        Style(
            "strings",
            "classical",
            (
                Layer(("pad", "tremolo", "block"), gm.STRINGS, 53),
                Layer(("rolled",), (46,), 55, 0.4),
            ),
            ("held",),
            (42, 43, 48),
            rubato=0.05,
            tempo=0.85,
            leads=gm.CLASSIC_LEADS,
        ),
        Style(
            "hymn",
            "classical",
            (Layer(("hymn",), (*gm.CHURCH, 52, 0, 61), 53),),
            rubato=0.02,
            tempo=0.9,
            leads={"organ": 3, "voice": 4, "brass": 1, "piano": 1},
        ),
        Style(
            "organ",
            "classical",
            (Layer(("pad", "block", "hymn"), gm.CHURCH + gm.ORGANS, 53),),
            ("held",),
            (19, 16),
            bass_chance=0.6,
            leads={"organ": 3, "voice": 2, "reed": 1, "flute": 1},
        ),
        Style(
            "drone",
            "folk",
            (Layer(("drone",), (20, 21, 109, 48, 42, 104, 52), 48),),
            ("pedal",),
            (42, 43),
            ("frame",),
            bass_chance=0.15,
            drum_chance=0.25,
            leads={**gm.FOLK_LEADS, "world": 2},
        ),
        Style(
            "piano solo",
            "solo",
            (
                Layer(
                    ("stride", "rolled", "alberti", "arpeggio", "hymn", "block"),
                    (*gm.PIANOS, 4),
                    50,
                ),
            ),
            rubato=0.05,
            leads={"piano": 1},
        ),
        Style(
            "guitar solo",
            "solo",
            (Layer(("picking", "arpeggio", "strum"), (24, 25, 26), 48),),
            rubato=0.04,
            leads={"guitar": 1},
        ),
        Style(
            "unaccompanied",
            "solo",
            (),
            rubato=0.05,
            leads={
                **gm.FOLK_LEADS,
                "voice": 5,
                "piano": 1,
                "brass": 1,
                "mallet": 0.7,
                "organ": 0.3,
                "synth": 0.5,
            },
        ),
        Style(
            "a cappella",
            "solo",
            (Layer(("block", "pad", "pulse", "hymn"), gm.CHOIRS, 50),),
            ("held", "root_fifth"),
            (52, 53),
            bass_chance=0.6,
            leads={"voice": 1},
        ),
    )
}
