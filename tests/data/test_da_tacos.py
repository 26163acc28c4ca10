import functools
import hashlib
import json

import filelock
import h5py
import numpy as np
import pytest
import torch

from src.data import da_tacos
from src.data.da_tacos import Archive, create_benchmark_pt, create_benchmark_ytrue
from src.data.dataset_file import load_dataset_file
from src.data.download import ResumingDownloader
from src.errors import UserError
from tests.data.da_tacos_tree import EXPECTED, h5_path, make_tree, make_zips, performances
from tests.data.web import Site, serve
from tests.parity_weights import FIXTURES

QUICK = functools.partial(ResumingDownloader, wait=0.0, timeout=5, progress=False)


def test_outputs_equal_the_reference_values(tmp_path):
    make_tree(tmp_path)
    labels = create_benchmark_pt(tmp_path)
    create_benchmark_ytrue(labels, tmp_path)
    assert labels == EXPECTED["labels"]
    stored = np.load(FIXTURES / "c06_benchmark.npz")
    content = torch.load(tmp_path / "benchmark_crema.pt", weights_only=True)
    assert content["labels"] == labels
    assert content["crema_version"] == "0.1.0"
    assert [str(item.dtype) for item in content["data"]] == EXPECTED["dtypes"]
    for number, item in enumerate(content["data"]):
        assert np.array_equal(item.numpy(), stored[f"data_{number}"])
    ytrue = torch.load(tmp_path / "ytrue_benchmark.pt", weights_only=True)
    assert ytrue.dtype == torch.float32
    assert np.array_equal(ytrue.numpy(), stored["ytrue"])


def test_only_the_kept_frames_are_stored(tmp_path):
    make_tree(tmp_path)
    create_benchmark_pt(tmp_path)
    for item in torch.load(tmp_path / "benchmark_crema.pt", weights_only=True)["data"]:
        assert item.untyped_storage().nbytes() == item.numel() * item.element_size()


@pytest.mark.parametrize("labels", [["b", "a", "b", "c"], [5, 5, 1], torch.tensor([[2], [2.0]])])
def test_ground_truth_equals_plain_loops(tmp_path, labels):
    create_benchmark_ytrue(labels, tmp_path)
    ytrue = torch.load(tmp_path / "ytrue_benchmark.pt", weights_only=True)
    n = len(labels)
    assert ytrue.tolist() == [
        [float(labels[i] == labels[j] and i != j) for j in range(n)] for i in range(n)
    ]


def remove_one(path):
    path.unlink()


def text(path):
    path.write_text("not HDF5")


def wrong_name(path):
    with h5py.File(path, "w") as file:
        file["hpcp"] = np.zeros((5, 12), "float32")


def group(path):
    with h5py.File(path, "w") as file:
        file.create_group("crema")


def wrong_shape(path):
    with h5py.File(path, "w") as file:
        file["crema"] = np.zeros((12, 50), "float32")


def no_frames(path):
    with h5py.File(path, "w") as file:
        file["crema"] = np.zeros((0, 12), "float32")


def whole_numbers(path):
    with h5py.File(path, "w") as file:
        file["crema"] = np.zeros((9, 12), int)


@pytest.mark.parametrize(
    "damage", [remove_one, text, wrong_name, group, wrong_shape, no_frames, whole_numbers]
)
def test_a_bad_recording_is_named_and_nothing_is_written(tmp_path, damage):
    make_tree(tmp_path)
    damage(h5_path(tmp_path, *performances()[3]))
    with pytest.raises(UserError, match=performances()[3][1]):
        create_benchmark_pt(tmp_path)
    assert not (tmp_path / "benchmark_crema.pt").exists()


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"W_1": "P_1"}'])
def test_bad_metadata_is_named(tmp_path, content):
    make_tree(tmp_path)
    (tmp_path / da_tacos.METADATA / da_tacos.METADATA_FILE).write_text(content)
    with pytest.raises(UserError, match="metadata"):
        create_benchmark_pt(tmp_path)


def test_no_labels_are_no_ground_truth(tmp_path):
    with pytest.raises(UserError, match="no labels"):
        create_benchmark_ytrue([], tmp_path)


@pytest.fixture
def record(tmp_path):
    """A server with the two zip files, and how to prepare them."""
    zips = make_zips(make_tree(tmp_path / "source"))
    archives = [
        Archive(name.removesuffix(".zip"), hashlib.md5(content).hexdigest())
        for name, content in zips.items()
    ]
    with serve(Site({f"/files/{name}": content for name, content in zips.items()})) as site:
        lines = []
        site.lines = lines
        site.prepare = functools.partial(
            da_tacos.prepare_benchmark,
            tmp_path / "data",
            archives=archives,
            record=site.url,
            downloader=QUICK,
            report=lines.append,
        )
        yield site


ZIPS = {"da-tacos_metadata.zip", "da-tacos_benchmark_subset_crema.zip"}
FOLDERS = {"da-tacos_metadata", "da-tacos_benchmark_subset_crema"}
OUTPUTS = {"benchmark_crema.pt", "ytrue_benchmark.pt"}


def present(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("remove", [False, True])
def test_from_the_record_to_the_two_files(record, tmp_path, remove):
    record.cut = [100, 3000, 0, 2000]
    record.prepare(unpack=True, remove=remove)
    assert present(tmp_path / "data") == FOLDERS | OUTPUTS | (set() if remove else ZIPS)
    loaded = load_dataset_file(tmp_path / "data" / "benchmark_crema.pt")
    assert loaded.labels == EXPECTED["labels"]
    assert any("7 recordings of 3 works" in line for line in record.lines)


def test_nothing_is_unpacked_unless_asked(record, tmp_path):
    record.prepare(unpack=False, remove=True)
    assert present(tmp_path / "data") == ZIPS
    assert "--unpack" in record.lines[-1]


def test_a_second_run_needs_no_network(record, tmp_path):
    record.prepare(unpack=True)
    before = len(record.requests)
    (tmp_path / "data" / "benchmark_crema.pt").unlink()
    record.prepare(unpack=True, remove=True, record="http://127.0.0.1:9")
    assert len(record.requests) == before
    assert present(tmp_path / "data") == FOLDERS | OUTPUTS


def test_the_mirror_helps_when_the_record_is_gone(record, tmp_path):
    record.prepare(unpack=True, record="http://127.0.0.1:9", mirror=f"{record.url}/files/")
    assert present(tmp_path / "data") == FOLDERS | OUTPUTS | ZIPS


def test_without_network_the_manual_way_is_told(record, tmp_path):
    with pytest.raises(UserError) as caught:
        record.prepare(unpack=True, record="http://127.0.0.1:9")
    sentence = str(caught.value)
    assert all(name in sentence for name in ZIPS)
    assert str(tmp_path / "data") in sentence


def test_a_zip_that_leaves_its_folder_is_refused(record, tmp_path):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../evil.json", "{}")
    record.files["/files/da-tacos_metadata.zip"] = buffer.getvalue()
    archive = Archive("da-tacos_metadata", hashlib.md5(buffer.getvalue()).hexdigest())
    with pytest.raises(UserError, match="nothing was unpacked"):
        record.prepare(unpack=True, archives=[archive])
    assert not list(tmp_path.rglob("evil.json"))


def test_two_runs_do_not_share_a_folder(record, tmp_path):
    (tmp_path / "data").mkdir()
    with (
        filelock.FileLock(tmp_path / "data" / ".benchmark_da-tacos.lock"),
        pytest.raises(UserError, match="another run"),
    ):
        record.prepare(unpack=True)
    assert record.requests == []


def test_the_published_archives_are_those_of_the_record():
    assert json.dumps([(a.file, a.md5) for a in da_tacos.ARCHIVES]) == json.dumps(
        [
            ("da-tacos_metadata.zip", "b8aed83c45687a6bac76de3da1799237"),
            ("da-tacos_benchmark_subset_crema.zip", "c702a3b97a60081311bf8e7fae7b433b"),
        ]
    )
