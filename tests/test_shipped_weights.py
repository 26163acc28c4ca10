"""The weights that come with the repository: small enough, and calibrated as they are."""

from pathlib import Path

import pytest

from src.retrieval.calibration import read_model_calibration
from src.retrieval.recording_windows import Recording2Windows
from src.training.paths import DEFAULT_MODEL

MODELS = Path(__file__).resolve().parents[1] / "models"
LARGEST = 30e6  # bytes, all together


def test_all_weights_together_stay_small():
    files = [*MODELS.rglob("*.pt"), *MODELS.rglob("*.safetensors"), *MODELS.rglob("g_*")]
    assert {"model_move.pt", DEFAULT_MODEL.name, "crema_0.2.0.safetensors"} < {
        f.name for f in files
    }
    assert sum(path.stat().st_size for path in files) < LARGEST


@pytest.mark.parametrize("model", [DEFAULT_MODEL, MODELS / "coverhunter"])
def test_calibrations_are_of_the_weights_beside_them(model):
    embedder = Recording2Windows(model, device="cpu")
    assert read_model_calibration(model, embedder.identity) is not None
