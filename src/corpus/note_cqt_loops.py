"""The inner loops of the CQT from notes, compiled when first needed (numba)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

LOSSES = 4 * 256  # half decibels that the table of powers reaches


class Kernels(NamedTuple):
    """Compiled forms of the functions of this module."""

    add_notes: Callable[..., None]
    smear: Callable[..., None]
    follow: Callable[..., None]
    shift_bins: Callable[..., None]


@lru_cache(maxsize=1)
def kernels() -> Kernels:
    """Compile the loops, once a process; the first call with arrays takes a few seconds."""
    from numba import njit

    compiled: Any = njit(nogil=True)
    return Kernels(*(compiled(f) for f in (add_notes, smear, follow, shift_bins)))


@lru_cache(maxsize=1)
def power_table() -> np.ndarray:
    """``(LOSSES,)`` float32: power by half decibels of loss; what is 90 dB down is nothing."""
    losses = np.arange(LOSSES)
    return np.where(losses < 180, 10 ** (-losses / 20), 0).astype(np.float32)


def add_notes(
    power: np.ndarray,
    held: np.ndarray,
    release: np.ndarray,
    decay: np.ndarray,
    entry: np.ndarray,
    shift: np.ndarray,
    gain: np.ndarray,
    onset: np.ndarray,
    end: np.ndarray,
    bend: np.ndarray,
    before: int,
    loop: int,
    table: np.ndarray,
) -> None:
    """Add the power of notes.

    Args:
        power: ``(frames, bins)`` float32, added to.
        held, release, decay: of a bank (see ``NoteBank``).
        entry, shift: ``(N,)`` int64, number in the bank and bins to move it up.
        gain: ``(N,)`` float32, power of the loudest value.
        onset, end: ``(N,)`` int64, frames.
        bend: ``(N, 5)`` float32, how the pitch of a note moves: semitones that stay, semitones at
            the beginning that are lost, the share of these left a frame later, semitones of
            vibrato, and its radians a frame. What lies between two bins is their mean in dB.
        before, loop: frames of the bank before an event, and at the end that are repeated.
        table: see :func:`power_table`.
    """
    frames, bins = power.shape
    known, released = held.shape[1], release.shape[1]
    for n in range(len(entry)):
        note, up, factor = entry[n], shift[n], gain[n]
        low, high = max(0, up), min(bins, bins + up)
        steady, left, depth = bend[n, 0], bend[n, 1], bend[n, 3]
        bent = steady != 0 or left != 0 or depth != 0
        first = onset[n] - before
        last = end[n] - before + released
        for t in range(max(first, 0), min(last, frames)):
            at = t - first
            loss = 0
            if at >= known:
                beyond = at - known
                loss = int(decay[note] * (beyond // loop + 1) * loop)
                at = known - loop + beyond % loop
            loss = min(loss, 400)
            row, spectrum = power[t], held[note, at]
            gone = t - end[n] + before
            if bent:
                since = t - onset[n]
                away = steady + left
                if since > 0:
                    left *= bend[n, 2]
                    away += depth * np.sin(bend[n, 4] * since)
                whole = int(np.floor(away))
                share = int(256 * (away - whole))
                fall = release[note, max(gone, 0)]
                for b in range(bins):
                    here = min(max(b - up - whole, 1), bins - 1)
                    level = (256 - share) * int(spectrum[here]) + share * int(spectrum[here - 1])
                    level = (level >> 8) + loss
                    if gone >= 0:
                        level += int(fall[here])
                    row[b] += factor * table[level]
            elif gone >= 0:
                fall = release[note, gone]
                for b in range(low, high):
                    row[b] += factor * table[int(spectrum[b - up]) + int(fall[b - up]) + loss]
            else:
                for b in range(low, high):
                    row[b] += factor * table[int(spectrum[b - up]) + loss]


def smear(power: np.ndarray, keep: np.ndarray, wet: np.ndarray, direct: np.ndarray) -> None:
    """Reverberation: what is left of all frames before, in every bin, is added to each frame.

    Args:
        power: ``(frames, bins)`` float32, changed.
        keep: ``(bins,)`` float32, share of the power that is left a frame later.
        wet: ``(bins,)`` float32, energy of the reverberation relative to the direct sound.
        direct: ``(bins,)`` float32, factor on the direct sound.
    """
    frames, bins = power.shape
    state = np.zeros(bins, np.float32)
    one = np.float32(1)
    for t in range(frames):
        row = power[t]
        for b in range(bins):
            state[b] = keep[b] * state[b] + (one - keep[b]) * row[b]
            row[b] = direct[b] * row[b] + wet[b] * state[b]


def follow(values: np.ndarray, rise: float, fall: float) -> None:
    """One-pole follower of ``(frames,)`` float64 that rises and falls at different rates."""
    state = 0.0
    for t in range(len(values)):
        rate = rise if values[t] > state else fall
        state += rate * (values[t] - state)
        values[t] = state


def shift_bins(decibels: np.ndarray, semitones: np.ndarray, out: np.ndarray) -> None:
    """Move every frame along the bins, by cubic interpolation: a partial is a parabola in dB.

    Args:
        decibels: ``(frames, bins)`` float32.
        semitones: ``(frames,)`` float64, upwards.
        out: ``(frames, bins)`` float32, written; what comes from beyond is the outermost bin.
    """
    frames, bins = decibels.shape
    half = np.float32(0.5)
    for t in range(frames):
        whole = int(np.floor(-semitones[t]))
        x = np.float32(-semitones[t] - whole)
        # Catmull-Rom weights of the four neighbours.
        w0 = half * (-x * x * x + 2 * x * x - x)
        w1 = half * (3 * x * x * x - 5 * x * x + 2)
        w2 = half * (-3 * x * x * x + 4 * x * x + x)
        w3 = half * (x * x * x - x * x)
        row, result = decibels[t], out[t]
        for b in range(bins):
            i = b + whole
            a0 = row[min(max(i - 1, 0), bins - 1)]
            a1 = row[min(max(i, 0), bins - 1)]
            a2 = row[min(max(i + 1, 0), bins - 1)]
            a3 = row[min(max(i + 2, 0), bins - 1)]
            result[b] = np.float32(w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3)
