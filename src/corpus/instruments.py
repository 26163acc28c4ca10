"""General MIDI programs by what they do, with playable ranges."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lead:
    """An instrument that can carry a melody; ``low`` to ``high`` is where it sings."""

    name: str
    program: int
    low: int
    high: int
    group: str


LEADS: tuple[Lead, ...] = tuple(
    Lead(*row)
    for row in (
        ("choir aahs", 52, 53, 79, "voice"),
        ("voice oohs", 53, 53, 79, "voice"),
        ("synth voice", 54, 50, 79, "voice"),
        ("solo vox", 85, 53, 81, "voice"),
        ("low voice", 53, 43, 65, "voice"),
        ("choir low", 52, 43, 65, "voice"),
        ("soprano sax", 64, 58, 84, "reed"),
        ("alto sax", 65, 52, 79, "reed"),
        ("tenor sax", 66, 46, 72, "reed"),
        ("baritone sax", 67, 38, 62, "reed"),
        ("oboe", 68, 60, 86, "reed"),
        ("english horn", 69, 54, 78, "reed"),
        ("bassoon", 70, 40, 64, "reed"),
        ("clarinet", 71, 52, 84, "reed"),
        ("harmonica", 22, 58, 84, "reed"),
        ("accordion", 21, 55, 86, "reed"),
        ("bandoneon", 23, 52, 84, "reed"),
        ("trumpet", 56, 55, 82, "brass"),
        ("muted trumpet", 59, 55, 82, "brass"),
        ("trombone", 57, 43, 68, "brass"),
        ("french horn", 60, 46, 72, "brass"),
        ("brass section", 61, 50, 79, "brass"),
        ("piccolo", 72, 74, 98, "flute"),
        ("flute", 73, 62, 91, "flute"),
        ("recorder", 74, 65, 93, "flute"),
        ("pan flute", 75, 62, 89, "flute"),
        ("whistle", 78, 67, 93, "flute"),
        ("ocarina", 79, 62, 89, "flute"),
        ("violin", 40, 57, 91, "strings"),
        ("viola", 41, 50, 79, "strings"),
        ("cello", 42, 40, 69, "strings"),
        ("string ensemble", 48, 52, 84, "strings"),
        ("fiddle", 110, 57, 88, "strings"),
        ("pizzicato", 45, 52, 82, "strings"),
        ("nylon guitar", 24, 48, 79, "guitar"),
        ("steel guitar", 25, 48, 79, "guitar"),
        ("jazz guitar", 26, 48, 79, "guitar"),
        ("clean guitar", 27, 48, 81, "guitar"),
        ("overdriven guitar", 29, 48, 84, "guitar"),
        ("distortion guitar", 30, 48, 84, "guitar"),
        ("banjo", 105, 52, 81, "guitar"),
        ("koto", 107, 55, 84, "guitar"),
        ("sitar", 104, 50, 77, "guitar"),
        ("grand piano", 0, 55, 88, "piano"),
        ("bright piano", 1, 55, 91, "piano"),
        ("honky-tonk", 3, 55, 88, "piano"),
        ("electric piano", 4, 52, 84, "piano"),
        ("FM piano", 5, 52, 84, "piano"),
        ("harpsichord", 6, 53, 86, "piano"),
        ("clavinet", 7, 50, 81, "piano"),
        ("vibraphone", 11, 55, 86, "mallet"),
        ("marimba", 12, 50, 86, "mallet"),
        ("xylophone", 13, 65, 96, "mallet"),
        ("glockenspiel", 9, 72, 98, "mallet"),
        ("music box", 10, 65, 96, "mallet"),
        ("harp", 46, 50, 88, "mallet"),
        ("dulcimer", 15, 55, 86, "mallet"),
        ("kalimba", 108, 58, 86, "mallet"),
        ("steel drums", 114, 55, 82, "mallet"),
        ("drawbar organ", 16, 50, 86, "organ"),
        ("rock organ", 18, 50, 86, "organ"),
        ("church organ", 19, 50, 86, "organ"),
        ("reed organ", 20, 50, 84, "organ"),
        ("square lead", 80, 52, 88, "synth"),
        ("saw lead", 81, 52, 88, "synth"),
        ("calliope lead", 82, 55, 88, "synth"),
        ("charang lead", 84, 52, 84, "synth"),
        ("fifths lead", 86, 50, 79, "synth"),
        ("warm pad", 89, 50, 79, "synth"),
        ("bagpipe", 109, 58, 79, "world"),
        ("shanai", 111, 58, 84, "world"),
        ("shakuhachi", 77, 57, 84, "world"),
    )
)
PLUCKED = ("guitar", "piano", "mallet")

PIANOS = (0, 1, 2, 3)
ELECTRIC_PIANOS = (4, 5, 2)
ORGANS = (16, 17, 18)
CHURCH = (19, 20, 16)
ACOUSTIC_GUITARS = (24, 25)
ELECTRIC_GUITARS = (26, 27, 28)
LOUD_GUITARS = (29, 30)
STRINGS = (48, 49, 50, 51)
PADS = (88, 89, 90, 91, 92, 94, 95)
SYNTHS = (62, 63, 81, 80, 87, 90)
CHOIRS = (52, 53, 54)
UPRIGHT = (32, 43)
ELECTRIC_BASS = (33, 34, 35)
SYNTH_BASS = (38, 39, 87)
FOLK_PLUCK = (24, 25, 105, 15, 46)
SQUEEZE = (21, 23, 20)
"""Programs for accompaniments."""

# How often a kind of music gives its melody to a group of instruments.
POP_LEADS = {"voice": 6, "guitar": 1.5, "reed": 1, "piano": 1.5, "synth": 1, "strings": 0.5}
JAZZ_LEADS = {"reed": 3, "brass": 2, "voice": 3, "piano": 2, "guitar": 1, "mallet": 1}
FOLK_LEADS = {"strings": 3, "flute": 3, "voice": 3, "reed": 2, "guitar": 2, "world": 0.7}
CLASSIC_LEADS = {"strings": 3, "flute": 2, "reed": 2, "voice": 2, "piano": 3, "brass": 1}
SYNTH_LEADS = {"synth": 4, "voice": 4, "mallet": 1, "piano": 1}
