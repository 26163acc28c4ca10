"""Windows of recordings -> embeddings: cutting, averaging, padding, batches, refusals."""

import numpy as np
import pytest
import torch
from torch import nn

from src.audio.cqt import CQTSpec, mean_frames
from src.models.window_embedder import Feature2Embeddings


class Mean(nn.Module):
    """``(B, T, bins)`` -> mean and last frame ``(B, 2 bins)``; counts what it is given."""

    def __init__(self, mean_size: int = 3) -> None:
        super().__init__()
        self.mean_size = mean_size
        self.batches: list[tuple[int, ...]] = []
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(x.shape))
        return self.dropout(torch.cat([x.mean(dim=1), x[:, -1]], dim=1))


def features(frames: int, seed: int = 0, bins: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-80, 0, (frames, bins)).astype(np.float32)


def expected(x: np.ndarray, start: int, frames: int, mean_size: int = 3) -> np.ndarray:
    window = np.full((frames, x.shape[1]), -100, np.float32)
    part = x[start : start + frames]
    window[: len(part)] = part
    window = mean_frames(window, mean_size)
    return np.concatenate([window.mean(axis=0), window[-1]])


def test_windows_are_those_of_the_original():
    """Full windows that end before the recording does; each averaged from its own start."""
    x = features(25 * 10)
    embeddings, starts = Feature2Embeddings(Mean(), chunk_s=3)(x)
    assert embeddings.dtype == np.float32
    assert starts.tolist() == [0, 3, 6]
    for embedding, start in zip(embeddings, starts, strict=True):
        np.testing.assert_allclose(embedding, expected(x, int(25 * start), 75), atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "options", "starts"),
    [
        (20, {}, [0]),  # shorter than one window
        (75, {}, [0]),
        (150, {}, [0]),  # a last window that fits exactly is dropped
        (151, {}, [0, 3]),
        (250, {"keep_tail": True}, [0, 3, 6, 7]),
        (250, {"hop_s": 2}, [0, 2, 4, 6]),
    ],
)
def test_where_windows_begin(frames, options, starts):
    found = Feature2Embeddings(Mean(), chunk_s=3, **options)(features(frames))
    assert found[1].tolist() == starts
    assert len(found[0]) == len(starts)


def test_a_short_recording_is_filled_with_silence():
    x = features(20)
    embeddings, _ = Feature2Embeddings(Mean(), chunk_s=3)(x)
    np.testing.assert_allclose(embeddings[0], expected(x, 0, 75), atol=1e-4)
    assert embeddings[0, -1] == -100


def test_batches_run_over_recordings_and_change_nothing():
    recordings = [features(25 * s, seed=s) for s in (4, 13, 1, 7, 22)]
    model = Mean()
    embedder = Feature2Embeddings(model, chunk_s=3, batch_size=4)
    together = list(embedder.embed_features(iter(recordings)))
    assert [shape[0] for shape in model.batches] == [4, 4, 4, 3]
    for x, (embeddings, starts) in zip(recordings, together, strict=True):
        alone = Feature2Embeddings(model, chunk_s=3)(x)
        np.testing.assert_allclose(embeddings, alone[0], atol=1e-5)
        np.testing.assert_array_equal(starts, alone[1])


def test_recordings_are_read_as_they_are_needed():
    read = []

    def files():
        for number in range(50):
            read.append(number)
            yield features(25 * 5, seed=number)

    embedder = Feature2Embeddings(Mean(), chunk_s=3, batch_size=4)
    results = embedder.embed_features(files())
    next(results)
    assert len(read) == 4
    results.close()


def test_the_mode_of_the_model_is_left_as_it_was():
    model = Mean().train()
    first = Feature2Embeddings(model, chunk_s=3)(features(200))[0]
    assert model.training
    np.testing.assert_array_equal(first, Feature2Embeddings(model, chunk_s=3)(features(200))[0])
    model.eval()
    Feature2Embeddings(model, chunk_s=3)(features(200))
    assert not model.training


def test_frame_rate_and_bins_are_those_of_the_features_of_the_model():
    model = Mean(mean_size=1)
    model.feature_spec = CQTSpec(hop_size=0.02, n_bins=60)
    _, starts = Feature2Embeddings(model, chunk_s=2)(features(250, bins=60))
    assert model.batches == [(2, 100, 60)]
    assert starts.tolist() == [0, 2]
    with pytest.raises(ValueError, match="61 bins, the model 60"):
        Feature2Embeddings(model, chunk_s=2)(features(250, bins=61))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    x = features(250)
    x[100, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        Feature2Embeddings(Mean(), chunk_s=3)(x)


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (30,)])
def test_shapes_that_are_no_features_are_refused(shape):
    with pytest.raises(ValueError, match="frames by bins"):
        Feature2Embeddings(Mean(), chunk_s=3)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("options", [{"chunk_s": 0.04}, {"hop_s": 0}, {"batch_size": 0}])
def test_windows_that_cannot_be_cut(options):
    with pytest.raises(ValueError, match="cannot be cut"):
        Feature2Embeddings(Mean(), **{"chunk_s": 3, **options})


def test_whole_model_in_low_precision_stays_close():
    from src.models.coverhunter import CoverHunter

    torch.manual_seed(0)
    hp = {
        "input_dim": 32, "embed_dim": 16, "mean_size": 3, "ce": {"output_dims": 3},
        "encoder": {"output_dims": 16, "attention_dim": 16, "num_blocks": 1},
    }  # fmt: skip
    model = CoverHunter(hp)
    x = features(300, bins=32)
    exact = Feature2Embeddings(model, chunk_s=4)(x)[0]
    low = Feature2Embeddings(model, chunk_s=4, amp=True)(x)[0]
    assert low.dtype == np.float32
    cosine = (exact * low).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(low, axis=1)
    assert (cosine > 0.99).all()
    assert not np.array_equal(exact, low)
