"""One version of a work: an independent arrangement drawn from (seed, work, version)."""

from dataclasses import asdict, replace

from src.corpus.bass import held
from src.corpus.dice import Dice, generator
from src.corpus.harmony import harmonise, treat, with_chords
from src.corpus.instruments import LEADS, PLUCKED, Lead
from src.corpus.melody import (
    ORNAMENTS,
    Event,
    MelodyPlan,
    fit_register,
    fold,
    improvise,
    play,
    second_voice,
)
from src.corpus.patterns import Bar, block
from src.corpus.performance import Performance, PlayedNote, Track
from src.corpus.structure import Item, describe, natural_bars, plan_form, total_bars
from src.corpus.styles import STYLES, Band, Style
from src.corpus.timing import Clock, TimingPlan, drop_collisions, humanise
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Section, Tune

STYLE_WEIGHTS = {
    "rock": 1.4,
    "pop": 2.2,
    "ballad": 1.4,
    "swing": 1.2,
    "piano solo": 1.3,
    "unaccompanied": 0.7,
    "a cappella": 0.4,
    "drone": 0.4,
    "organ": 0.5,
    "salsa": 0.6,
    "tango": 0.6,
    "ambient": 0.6,
}
TREATMENT_WEIGHTS = {
    "given": 0.34,
    "extended": 0.14,
    "reduced": 0.14,
    "substituted": 0.16,
    "reharmonised": 0.13,
    "power": 0.04,
    "pedal": 0.05,
}
LONGEST_TAIL = 4.0  # seconds that a last note may sound on


def arrange(
    tune: Tune,
    *,
    seed: int,
    version: int,
    target_duration: tuple[float, float] | None = None,
    setting: int | None = None,
) -> Performance:
    """Arrange a tune.

    Args:
        tune: the work; see ``src.corpus.tune``.
        seed: of the corpus.
        version: which version of the work; every version is drawn independently.
        target_duration: least and most seconds; None for one to three passes of the tune.
        setting: which notation of the work (0 is the tune itself); None to draw one.

    Returns:
        the performance; the same arguments always give the same one.
    """
    dice = Dice(generator(seed, tune.work, version))
    if setting is None:
        setting = dice.integer(0, len(tune.settings))
    tune = tune.setting(setting)
    style = STYLES[dice.weighted({name: STYLE_WEIGHTS.get(name, 1.0) for name in STYLES})]
    choices: dict = {
        "work": tune.work,
        "seed": seed,
        "version": version,
        "setting": setting,
        "source": tune.source,
        "style": style.name,
        "family": style.family,
    }
    tune = _transpose(_change_mode(tune, dice.split(), choices), dice, choices)
    timing, items = _plan_time(tune, style, dice.split(), target_duration, choices)
    choices["structure"] = describe(items, tune)
    harmony = _harmony(tune, style, dice.split(), choices)
    offset = _lead_in(tune, items)
    length = offset + total_bars(items) * tune.meter.bar

    lead = _pick_lead(style, dice, choices)
    melody = _melody(tune, items, harmony, lead, style, offset, dice.split(), choices)
    program = lead.program if style.family == "solo" and lead.group in ("piano", "guitar") else None
    band = Band.draw(style, dice.split(), tonic=tune.tonic, program=program)
    _accompany(band, tune, items, harmony, offset, dice.split(), choices)
    clock = Clock(timing, length=length, meter=tune.meter, dice=dice.split())
    tracks = _tracks(melody, band, clock, lead, style, dice.split(), choices)
    tuning = round(dice.normal(12.0), 1) if dice.chance(0.6) else 0.0
    tuning = max(-45.0, min(45.0, tuning))
    choices["tuning_cents"] = tuning
    tracks = _trim(tracks)
    duration = max(note.end for track in tracks for note in track.notes)
    choices["duration"] = round(duration, 3)
    return Performance(tracks, tuning, duration, choices).validate()


# --- key --------------------------------------------------------------------


def _change_mode(tune: Tune, dice: Dice, choices: dict) -> Tune:
    """Now and then a version in the parallel mode, as real covers do."""
    choices["mode"] = tune.mode
    choices["mode_changed"] = False
    if tune.mode not in ("major", "minor") or not dice.chance(0.025):
        return tune
    mode = "minor" if tune.mode == "major" else "major"
    shifts = {4: -1, 9: -1, 11: -1} if mode == "minor" else {3: 1, 8: 1, 10: 1}
    if mode == "minor":
        shifts.pop(11)  # the leading note stays
    sections = tuple(
        replace(
            s,
            melody=tuple(
                replace(n, pitch=n.pitch + shifts.get((n.pitch - tune.tonic) % 12, 0))
                for n in s.melody
            ),
            chords=None,
        )
        for s in tune.sections
    )
    choices["mode"], choices["mode_changed"] = mode, True
    return replace(tune, mode=mode, sections=sections)


def _transpose(tune: Tune, dice: Dice, choices: dict) -> Tune:
    by = dice.integer(-6, 5)
    choices["transposition"] = by
    choices["key"] = (tune.tonic + by) % 12
    sections = tuple(
        Section(
            s.label,
            s.bars,
            tuple(replace(n, pitch=n.pitch + by) for n in s.melody),
            None
            if s.chords is None
            else tuple(
                replace(c, root=(c.root + by) % 12, bass=(c.bass + by) % 12) for c in s.chords
            ),
        )
        for s in tune.sections
    )
    return replace(tune, tonic=(tune.tonic + by) % 12, sections=sections)


# --- time and form ----------------------------------------------------------


def _plan_time(tune, style: Style, dice: Dice, target, choices) -> tuple[TimingPlan, list[Item]]:
    factor = max(0.7, min(1.4, 2 ** dice.normal(0.22) * style.tempo))
    pulse_rate = tune.tempo / tune.meter.pulse * factor
    tempo = max(42.0, min(210.0, pulse_rate)) * tune.meter.pulse
    bar_seconds = tune.meter.bar * 60 / tempo
    if target is None:
        natural = natural_bars(tune)
        least, most = natural * dice.uniform(0.7, 1.6), natural * 2.5
    else:
        low, high = target
        tail = min(2.0, 0.1 * (high - low) + 0.5)
        wanted = dice.uniform(low + 0.3, low + 0.75 * (high - low))
        least, most = wanted / bar_seconds, (high - tail) / bar_seconds
    items = plan_form(tune, dice, least=least, most=most, solos=0.35)
    if not style.layers:  # nobody plays where the melody rests
        kinds = {"intro": "theme", "interlude": "theme", "ending": "tag"}
        items = [replace(item, kind=kinds.get(item.kind, item.kind)) for item in items]
    if target is not None:
        # The last few percent by tempo, so that the form need not be cut in a phrase.
        seconds = total_bars(items) * bar_seconds
        low, high = target
        wanted = min(max(seconds, low + 0.8), high - 1.2)
        tempo *= seconds / wanted
    low_swing, high_swing = style.swing
    swing = dice.uniform(low_swing, high_swing)
    if style.family in ("folk", "band") and swing == 0.5 and dice.chance(0.15):
        swing = dice.uniform(0.53, 0.64)
    band_like = style.family in ("band", "electronic", "latin")
    rubato = style.rubato * dice.uniform(0, 2)
    plan = TimingPlan(
        tempo=round(tempo, 2),
        drift=0.0 if style.family == "electronic" else round(dice.uniform(0, 0.02), 4),
        rubato=0.0 if band_like else round(rubato, 4),
        phrase=dice.pick((2, 4, 4, 8)),
        swing=round(swing, 3),
        ritardando=round(dice.uniform(0.1, 0.4), 3) if dice.chance(0.45) else 0.0,
        trend=round(dice.normal(0.02), 4) if not band_like else 0.0,
        human=0.001 if style.family == "electronic" else round(dice.uniform(0.003, 0.014), 4),
    )
    choices["meter"] = tune.meter.name
    choices["tempo_bpm"] = round(plan.tempo / tune.meter.pulse, 2)
    choices["tempo_factor"] = round(plan.tempo / tune.tempo, 3)
    choices["timing"] = asdict(plan)
    choices["intro_bars"] = items[0].bars if items and items[0].kind == "intro" else 0
    return plan, items


def _lead_in(tune: Tune, items: list[Item]) -> float:
    """Room for a pickup before the first bar, in quarter notes."""
    first = items[0]
    if first.kind != "theme":
        return 0.0
    earliest = min((n.onset for n in tune.sections[first.section].melody), default=0.0)
    return max(0.0, -earliest)


# --- harmony ----------------------------------------------------------------


def _harmony(tune: Tune, style: Style, dice: Dice, choices) -> dict[tuple[int, bool], tuple]:
    """Chords of every section, for first and for later turns."""
    weights = dict(TREATMENT_WEIGHTS)
    if style.name == "rock":
        weights["power"] = 0.25
    if style.family == "jazz":
        weights["extended"], weights["substituted"] = 0.3, 0.3
    treatment = dice.weighted(weights)
    if style.name in ("unaccompanied", "drone"):
        treatment = "given"
    later = treatment
    if dice.chance(0.15) and style.family != "solo":
        later = dice.weighted(weights)
    amount = dice.uniform(0.2, 0.8)
    accompanied = style.name != "unaccompanied"
    choices["harmony"] = treatment if accompanied else "none"
    choices["harmony_later"] = later if accompanied else "none"
    choices["harmony_amount"] = round(amount, 3)
    choices["chords_source"] = "given" if tune.sections[0].chords else "harmonised"
    result: dict[tuple[int, bool], tuple] = {}
    for index, section in enumerate(tune.sections):
        known = {"meter": tune.meter, "tonic": tune.tonic, "mode": tune.mode}
        section = with_chords(section, **known)
        for again, kind in ((False, treatment), (True, later)):
            if again and later == treatment:
                result[index, True] = result[index, False]
                continue
            chords = treat(
                section.chords,
                kind,
                melody=section.melody,
                bars=section.bars,
                dice=dice,
                amount=amount,
                **known,
            )
            result[index, again] = chords or harmonise(section.melody, bars=section.bars, **known)
    return result


def _chords_of(item: Item, harmony, meter) -> list[Chord]:
    """Chords of a passage, onsets from its start, covering all of it."""
    low, high = item.first * meter.bar, (item.first + item.bars) * meter.bar
    source = harmony[item.section, item.turn > 0]
    span = max(c.end for c in source)
    chords: list[Chord] = []
    shift = 0.0
    while shift < high - 1e-6:  # a passage longer than its section goes round again
        for c in source:
            onset, end = max(c.onset + shift, low), min(c.end + shift, high)
            if end - onset > 1e-3:
                chords.append(replace(c, onset=onset - low, duration=end - onset))
        shift += max(span, meter.bar)
    if chords and chords[0].onset > 0:
        first = chords[0]
        chords[0] = replace(first, onset=0.0, duration=first.end)
    return chords


# --- melody -----------------------------------------------------------------


def _pick_lead(style: Style, dice: Dice, choices) -> Lead:
    group = dice.weighted(style.leads)
    lead = dice.pick([lead for lead in LEADS if lead.group == group])
    choices["lead"], choices["lead_group"] = lead.name, lead.group
    return lead


def _plans(style: Style, dice: Dice, choices) -> tuple[MelodyPlan, MelodyPlan]:
    """What the player changes for good, and what changes at every turn."""
    fidelity = dice.weighted({"literal": 0.3, "free": 0.45, "strong": 0.25})
    scale = {"literal": 0.15, "free": 0.6, "strong": 1.3}[fidelity]
    leaning = {"jazz": "jazz", "folk": "folk", "classical": "baroque", "band": "vocal"}
    kind = leaning.get(style.family, "plain")
    if dice.chance(0.4):
        kind = dice.pick(list(ORNAMENTS))
    free = style.family in ("jazz", "band", "latin", "solo")
    lasting = MelodyPlan(
        simplify=scale * dice.uniform(0, 0.35) if dice.chance(0.5) else 0.0,
        alter=scale * dice.uniform(0, 0.16),
        omission=scale * dice.uniform(0, 0.08),
        articulation=1.0,
    )
    live = MelodyPlan(
        ornaments=kind,
        ornament=min(0.8, scale * dice.uniform(0, 0.45)),
        omission=scale * dice.uniform(0, 0.05),
        displacement=scale * dice.uniform(0, 0.1) if free else 0.0,
        anticipation=scale * dice.uniform(0, 0.4) if free and dice.chance(0.6) else 0.0,
        delay=scale * dice.uniform(0, 0.35) if free and dice.chance(0.5) else 0.0,
        split=scale * dice.uniform(0, 0.25) if dice.chance(0.4) else 0.0,
        alter=scale * dice.uniform(0, 0.05),
        articulation=dice.uniform(0.55, 1.0) if dice.chance(0.4) else dice.uniform(0.85, 1.0),
    )
    choices["melody"] = {
        "fidelity": fidelity,
        "lasting": {
            k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(lasting).items()
        },
        "live": {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(live).items()},
    }
    return lasting, live


def _melody(tune, items, harmony, lead, style, offset, dice, choices) -> dict[str, list[Event]]:
    """Lines by role: lead, second lead, second voice; times from the start of the performance."""
    meter = tune.meter
    lasting, live = _plans(style, dice, choices)
    scale = frozenset((tune.tonic + s) % 12 for s in MODE_SCALES[tune.mode])
    shift = fit_register([n.pitch for s in tune.sections for n in s.melody], lead.low, lead.high)
    choices["octave_shift"] = shift
    stable: dict[int, list[MelodyNote]] = {}
    for index, section in enumerate(tune.sections):
        events = play(
            section.melody,
            lasting,
            meter=meter,
            scale=scale,
            chords=harmony[index, False],
            dice=dice,
        )
        stable[index] = [MelodyNote(on, length, pitch) for on, length, pitch, _ in events]
    two_leads = dice.chance(0.25)
    trade = dice.pick(("turns", "sections", "solos"))
    voice_from = dice.integer(0, 1) if dice.chance(0.18) else 99
    interval = dice.pick((2, 2, -5, -2, 7, -7))
    lines: dict[str, list[Event]] = {"lead": [], "second": [], "voice": []}
    now = offset
    themes = 0
    for item in items:
        chords = _chords_of(item, harmony, meter)
        low, high = item.first * meter.bar, (item.first + item.bars) * meter.bar
        line: list[Event] = []
        if item.kind in ("theme", "tag"):
            notes = [
                replace(n, onset=n.onset - low)
                for n in stable[item.section]
                if (n.onset >= low - 1e-6 or item.first == 0) and n.onset < high - 1e-6
            ]
            line = play(notes, live, meter=meter, scale=scale, chords=chords, dice=dice)
            line = [(on, min(d, high - low - on + 0.5), p + shift, v) for on, d, p, v in line]
            themes += 1
        elif item.kind == "solo":
            line = improvise(
                chords,
                length=item.bars * meter.bar,
                meter=meter,
                scale=scale,
                low=lead.low,
                high=lead.high,
                dice=dice,
                density=dice.uniform(0.3, 0.9),
            )
        elif item.kind == "intro" and dice.chance(0.3):
            line = _intro_line(tune, item, stable, shift)
        if not line:
            now += item.bars * meter.bar
            continue
        line = [
            (
                on,
                d,
                p if lead.low - 5 <= p <= lead.high + 5 else fold(p, lead.low - 5, lead.high + 5),
                v,
            )
            for on, d, p, v in line
        ]
        second = two_leads and (
            (trade == "turns" and item.turn % 2 == 1)
            or (trade == "sections" and item.section % 2 == 1)
            or (trade == "solos" and item.kind == "solo")
        )
        placed = [(on + now, d, p, v) for on, d, p, v in line if on + now >= -1e-6]
        target = lines["second" if second else "lead"]
        first = min(e[0] for e in placed)
        for name in ("lead", "second", "voice"):  # a pickup cuts what sounds before it
            lines[name] = [
                (on, min(d, first - on), p, v) if on < now else (on, d, p, v)
                for on, d, p, v in lines[name]
                if on < first - 0.05
            ]
        target = lines["second" if second else "lead"]
        target += placed
        if item.kind == "theme" and item.turn >= voice_from:
            lines["voice"] += second_voice(placed, interval, scale)
        now += item.bars * meter.bar
    choices["two_leads"] = two_leads and bool(lines["second"])
    choices["second_voice"] = interval if lines["voice"] else 0
    choices["solos"] = sum(item.kind == "solo" for item in items)
    return lines


def _intro_line(tune, item, stable, shift) -> list[Event]:
    """The end of the tune as its introduction."""
    bar = tune.meter.bar
    section = tune.sections[item.section]
    start = max(0, section.bars - item.bars) * bar
    return [
        (n.onset - start, n.duration, n.pitch + shift, 84)
        for n in stable[item.section]
        if n.onset >= start and n.onset - start < item.bars * bar
    ]


# --- accompaniment ----------------------------------------------------------


def _accompany(band: Band, tune, items, harmony, offset, dice: Dice, choices) -> None:
    """Let the band play every bar; players come and go by passages."""
    meter = tune.meter
    bars: list[tuple[Item, float, list[Chord], bool]] = []
    now = offset
    for item in items:
        chords = [replace(c, onset=c.onset + now) for c in _chords_of(item, harmony, meter)]
        for k in range(item.bars):
            start = now + k * meter.bar
            inside = [
                replace(
                    c,
                    onset=max(c.onset, start),
                    duration=min(c.end, start + meter.bar) - max(c.onset, start),
                )
                for c in chords
                if c.onset < start + meter.bar - 1e-3 and c.end > start + 1e-3
            ]
            bars.append((item, start, inside, k == item.bars - 1))
        now += item.bars * meter.bar
    names = [p.name for p in band.players]
    texture = dice.weighted({"full": 0.5, "build": 0.3, "vary": 0.2})
    choices["texture"] = texture
    choices["players"] = [
        {"name": p.name, "pattern": p.pattern, "program": p.program} for p in band.players
    ]
    silent: list[str] = []
    energy, last_item = 0.6, None
    for index, (item, start, chords, fill) in enumerate(bars):
        if item is not last_item:
            share = index / len(bars)
            energy = min(1.0, max(0.1, 0.45 + 0.4 * share + dice.normal(0.15)))
            silent = []
            keep = names[:1]
            if texture == "build" and share < 0.3:
                silent = [n for n in names if n not in keep and dice.chance(0.65)]
            elif texture == "vary":
                silent = [n for n in names if n not in keep and dice.chance(0.3)]
            if item.kind == "intro" and len(names) > 1 and dice.chance(0.5):
                silent = [n for n in names if n not in keep and dice.chance(0.6)]
            last_item = item
        if not chords:
            continue
        following = bars[index + 1][2] if index + 1 < len(bars) else chords
        band.play(
            Bar(
                start=start,
                meter=meter,
                chords=chords,
                following=(following or chords)[0],
                index=index,
                energy=energy,
                dice=dice,
                fill=fill,
            ),
            silent,
        )
    if band.players and items[-1].kind != "tag" and dice.chance(0.6):
        _final_chord(band, bars[-1], meter, choices)


def _final_chord(band: Band, last, meter, choices) -> None:
    """The last bar is struck once and held."""
    _, start, chords, _ = last
    choices["final_chord"] = True
    for player in band.players:
        player.events[:] = [e for e in player.events if e[0] < start - 1e-6]
        bar = Bar(start, meter, chords[:1], chords[0], 0, 0.8, Dice(generator("end")))
        bar.low = player.low
        bar.memory = player.memory
        if player.is_drums:
            player.events.append((start, 0.1, 49, 80))
        elif player.name == "bass":
            bar.chords = [replace(chords[0], duration=meter.bar)]
            held(bar, player.events)
        else:
            bar.chords = [replace(chords[0], duration=meter.bar)]
            block(bar, player.events)


# --- tracks -----------------------------------------------------------------


def _tracks(melody, band: Band, clock, lead, style, dice, choices) -> list[Track]:
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
        other = _pick_lead(style, dice, {})
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
        other = lead if dice.chance(0.6) else _pick_lead(style, dice, {})
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
        other = _pick_lead(style, dice, {})
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
    return tracks


DRUM_SPREAD = 5.0


def _trim(tracks: list[Track]) -> tuple[Track, ...]:
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
