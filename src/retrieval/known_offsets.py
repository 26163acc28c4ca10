"""Versions of a recording that differ by known amounts, made from its features.

They tell whether an alignment is right: a cut introduction, another tempo, another key and noise
are what real versions differ in too, and here the true shift is known.
"""

from dataclasses import dataclass

import numpy as np

SILENCE_DB = -100.0


@dataclass(frozen=True)
class Change:
    """How a version is made from a recording.

    Attributes:
        cut_s: seconds left out at the start.
        tempo: 1.1 plays what remains a tenth faster.
        bins: transposition upwards in bins of the CQT.
        noise_db: standard deviation of the noise on every value.
    """

    cut_s: float = 0.0
    tempo: float = 1.0
    bins: int = 0
    noise_db: float = 0.0

    def source_s(self, second: float) -> float:
        """The second of the recording that the version plays at ``second``."""
        return self.cut_s + self.tempo * second

    def second_of(self, source_s: float) -> float:
        """When the version plays that second of the recording."""
        return (source_s - self.cut_s) / self.tempo


def changed(
    features: np.ndarray,
    change: Change,
    *,
    frames_per_second: float = 25.0,
    generator: np.random.Generator,
) -> np.ndarray:
    """Features of the version.

    Args:
        features: ``(frames, bins)`` dB.
        change: what is different.
        frames_per_second: of the features.
        generator: source of the noise.

    Returns:
        ``(frames', bins)`` float32 dB, at most 0.

    Raises:
        ValueError: nothing remains of the recording.
    """
    first = change.cut_s * frames_per_second
    count = int((len(features) - 1 - first) / change.tempo) + 1
    if count < 1 or first > len(features) - 1:
        raise ValueError(f"nothing remains of {len(features)} frames without {change.cut_s:g} s")
    places = first + change.tempo * np.arange(count)
    low = np.minimum(places.astype(int), len(features) - 1)
    high = np.minimum(low + 1, len(features) - 1)
    weight = (places - low)[:, None]
    version = (1 - weight) * features[low] + weight * features[high]
    if change.bins:
        version = np.roll(version, change.bins, axis=1)
        gone = slice(0, change.bins) if change.bins > 0 else slice(change.bins, None)
        version[:, gone] = SILENCE_DB
    if change.noise_db:
        version = version + change.noise_db * generator.standard_normal(version.shape)
    return np.minimum(version, 0).astype(np.float32)


def true_shift(i: Change, j: Change, source_seconds: float) -> float:
    """Shift from version i to version j in seconds, in the middle of what both play.

    With different tempi the shift grows on the way; a single number can only be right in the
    middle.

    Args:
        i: how i is made from the recording.
        j: how j is made from the same recording.
        source_seconds: length of the recording.
    """
    middle = (max(i.cut_s, j.cut_s) + source_seconds) / 2
    return i.second_of(middle) - j.second_of(middle)
