"""cremaPCP-like chroma straight from the notes of a version, without any sound.

cremaPCP is what a chord network hears in a recording. Here a small network, fitted to the cremaPCP
of rendered versions (:mod:`src.corpus.note_chroma_fit`), says from the notes what it will hear on
average; what differs from recording to recording is drawn from the distribution of the residuals,
with their correlation over time and between pitch classes. A version costs some milliseconds, where
rendering and analysis take a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from src.corpus.dice import generator
from src.corpus.note_activity import Played, note_activity
from src.corpus.note_network import NoteNetwork
from src.errors import UserError
from src.files import atomic_path
from src.models.crema_weights import WEIGHTS_FOLDER

WEIGHTS = WEIGHTS_FOLDER / "note_chroma.safetensors"
CREMA_VERSION = "0.2.0"  # the network that is imitated
SCORES = np.linspace(-2.5, 2.5, 11)  # standard normal scores at which quantiles are kept
_NETWORK, _RESIDUAL = "network.", "residual."


@dataclass(frozen=True, slots=True)
class Residual:
    """How cremaPCP is distributed about what the notes let one expect (a Gaussian copula).

    Attributes:
        knots: ``(K,)`` logits of the network, ascending.
        quantiles: ``(K, 11)`` logit of cremaPCP at each knot and each of SCORES.
        shares: ``(3,)`` of the variance of the scores: quick, slow, lasting all the recording.
        memory: ``(2,)`` share of the quick and the slow part that lasts from frame to frame.
        pitch: ``(12,)`` correlation between pitch classes, by interval.
    """

    knots: np.ndarray
    quantiles: np.ndarray
    shares: np.ndarray
    memory: np.ndarray
    pitch: np.ndarray

    def draw(
        self, logits: np.ndarray, rng: np.random.Generator, *, scale: float = 1.0
    ) -> np.ndarray:
        """Logits ``(T, 12)`` of one recording that is plausible where ``logits`` are expected."""
        return self.at(logits, scale * self.scores(logits, rng))

    def scores(self, logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(T, 12)`` of unit variance, correlated as the residuals are.

        A chord network errs for the length of a chord: its errors are held, and drawn afresh
        mostly where the expected chroma changes.
        """
        frames = len(logits)
        change = np.abs(np.diff(sigmoid(logits), axis=0, prepend=sigmoid(logits[:1]))).mean(1)
        change /= max(float(change.mean()), 1e-9)
        total = np.sqrt(self.shares[2]) * self._white(rng, 1)
        for share, memory in zip(self.shares, self.memory, strict=False):
            fresh = rng.random(frames) < (1 - memory) * change
            drawn = self._white(rng, int(fresh.sum()) + 1)
            total = total + np.sqrt(share) * drawn[np.cumsum(fresh)]
        return total

    def _white(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``(count, 12)`` independent draws with the correlation between pitch classes."""
        colour = np.sqrt(np.clip(np.fft.rfft(self.pitch).real, 0, None))
        white = np.fft.rfft(rng.standard_normal((count, 12)), axis=1)
        return np.fft.irfft(white * colour, 12, axis=1)

    def at(self, logits: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The quantile at each of ``scores``, given the logits expected: both ``(T, 12)``."""
        rows = self.rows(logits)
        place = np.clip((scores - SCORES[0]) / (SCORES[1] - SCORES[0]), 0, len(SCORES) - 1.001)
        left = place.astype(int)[..., None]
        share = place - left[..., 0]
        low, high = (np.take_along_axis(rows, left + i, -1)[..., 0] for i in (0, 1))
        return (1 - share) * low + share * high

    def rows(self, logits: np.ndarray) -> np.ndarray:
        """The quantiles between the knots: ``(..., 11)``."""
        last = len(self.knots) - 1
        place = np.interp(logits, self.knots, np.arange(last + 1.0))
        left = np.minimum(place.astype(int), last - 1)
        share = (place - left)[..., None]
        return (1 - share) * self.quantiles[left] + share * self.quantiles[left + 1]


class NoteChroma:
    """Versions -> chroma that is like cremaPCP; the network is loaded once.

    Args:
        path: the weights.
        noise: how far a recording departs from the mean of all recordings; 1 as the fitted
            residuals do, 0 not at all.

    Raises:
        UserError: the weights are missing or damaged.
    """

    def __init__(self, path: Path = WEIGHTS, *, noise: float = 1.0) -> None:
        network, self.residual = load_weights(path)
        self.network = network
        self.noise = noise

    def __call__(self, played: Played) -> np.ndarray:
        """Chroma of one recording: ``(T, 12)`` float32 in 0..1, C first; see Played for the seed.

        T is the number of whole frames of 4096 samples at 44.1 kHz in the recording, at least 1.
        """
        logits = self.logits(played)
        if self.noise:
            rng = generator("note chroma", *played.seed)
            logits = self.residual.draw(logits, rng, scale=self.noise)
        return sigmoid(logits).astype(np.float32)

    def logits(self, played: Played) -> np.ndarray:
        """What is expected: logits ``(T, 12)`` float64 of the mean over recordings."""
        activity = torch.from_numpy(note_activity(played))
        with torch.inference_mode():
            return self.network(activity[None])[0].double().numpy()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def load_weights(path: Path) -> tuple[NoteNetwork, Residual]:
    """The network, in eval mode, and its residual.

    Raises:
        UserError: missing, damaged or of another shape.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; it belongs to the repository, restore it")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return build_network(part(tensors, _NETWORK)), Residual(
            **{name: t.double().numpy() for name, t in part(tensors, _RESIDUAL).items()}
        )
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is damaged or of another program; restore it") from error


def part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors of which the names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def build_network(state: Mapping[str, torch.Tensor]) -> NoteNetwork:
    """A network of the width of its weights."""
    network = NoteNetwork(len(state["enter.bias"]))
    network.load_state_dict(state)
    return network.eval()


def save_weights(
    path: Path, network: NoteNetwork, residual: Residual, *, metadata: Mapping[str, str]
) -> None:
    """Write what :func:`load_weights` reads, atomically."""
    tensors = {_NETWORK + name: value.detach() for name, value in network.state_dict().items()}
    for name in Residual.__dataclass_fields__:
        value = torch.from_numpy(np.asarray(getattr(residual, name)))
        tensors[_RESIDUAL + name] = value.float()
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=dict(metadata))
