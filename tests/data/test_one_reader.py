"""Threads that read feature files take turns where numpy parses their headers."""

import ast
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from src.data.cqt_features import load_cqt
from src.data.crema_features import read_features, write_features

READERS = {
    "crema": lambda path: read_features(path, "0.1.0"),
    "cqt_npy": load_cqt,
    "cqt_npz": load_cqt,
}


@pytest.mark.parametrize("kind", READERS)
def test_headers_are_parsed_by_one_thread_at_a_time(kind, tmp_path, monkeypatch):
    path = tmp_path / ("features.npy" if kind == "cqt_npy" else "features.npz")
    if kind == "crema":
        write_features(path, np.ones((9, 12), np.float32), "0.1.0")
    elif kind == "cqt_npy":
        np.save(path, np.zeros((9, 96), np.float32))
    else:
        np.savez(path, cqt_u8=np.zeros((9, 96), np.uint8))
    inside, most, calls = 0, 0, 0
    count, parse = threading.Lock(), ast.literal_eval

    def counted(header):
        nonlocal inside, most, calls
        with count:
            inside, calls = inside + 1, calls + 1
            most = max(most, inside)
        time.sleep(0.01)
        with count:
            inside -= 1
        return parse(header)

    monkeypatch.setattr(ast, "literal_eval", counted)
    with ThreadPoolExecutor(4) as pool:
        shapes = {features.shape[0] for features in pool.map(READERS[kind], [path] * 8)}
    assert shapes == {9}
    assert calls >= 8
    assert most == 1
