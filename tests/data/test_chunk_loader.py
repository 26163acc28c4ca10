"""Loaders: batches of several lengths, aligned chunks, the same with any number of processes."""

import numpy as np
import pytest
import torch

from src.data.aligned import AlignedStarts
from src.data.chunk_loader import make_chunk_loader, multi_length_batches
from src.data.spec_augment import SpecAugment
from src.errors import UserError

RATE = 25
WORKS, VERSIONS, FRAMES = 4, 3, 400


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Recordings whose value at frame t is -t; version v of a work begins 2 v seconds later."""
    folder = tmp_path_factory.mktemp("features")
    lines = []
    for work in range(WORKS):
        for version in range(VERSIONS):
            utt = f"{'sp_0.9-' * (version == 2)}w{work}v{version}"
            frames = FRAMES + 10 * version
            path = folder / f"{utt}.npy"
            np.save(path, np.repeat(-np.arange(frames, dtype=np.float32)[:, None], 4, axis=1))
            row = {"utt": utt, "feat": str(path), "feat_len": frames}
            lines.append(row | {"song_id": work, "version": version})
    return lines


def loader(rows, **changes):
    options = {
        "chunk_frame": 20,
        "mean_size": 1,
        "m_per_class": 2,
        "batch_size": 4,
        "seed": 3,
    }
    return make_chunk_loader(rows, **(options | changes))


def epoch_of(one, number):
    one.set_epoch(number)
    return list(one)


def same(batches, others):
    return len(batches) == len(others) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2])
        for a, b in zip(batches, others, strict=True)
    )


def test_an_epoch_of_batches(rows):
    batches = epoch_of(loader(rows), 0)
    # 4 works of 3 lines; 3 is already at least m, so 12 lines in batches of 4.
    assert len(batches) == len(loader(rows)) == 3
    for utts, chunks, labels in batches:
        assert chunks.shape == (4, 20, 4)
        assert [f"w{label}" in utt for utt, label in zip(utts, labels.tolist(), strict=True)]
        assert labels[0] == labels[1] != labels[2] == labels[3]
        assert len(set(utts)) == 4


def test_epochs_do_not_depend_on_what_came_before(rows):
    augment = SpecAugment({"roll_pitch": {"shift_num": 1}, "random_erase": {}})
    one, other = loader(rows, augment=augment), loader(rows, augment=augment)
    first = epoch_of(one, 0)
    torch.manual_seed(1)
    for number in (7, 2):
        epoch_of(one, number)
    assert same(epoch_of(one, 5), epoch_of(other, 5))
    assert not same(epoch_of(other, 5), first)
    assert not same(epoch_of(loader(rows, augment=augment, seed=4), 5), epoch_of(other, 5))


def test_worker_processes_change_nothing(rows):
    augment = SpecAugment({"roll_pitch": {"shift_num": 1}, "random_erase": {}})
    plain = loader(rows, augment=augment)
    workers = loader(rows, augment=augment, num_workers=2)
    for number in (0, 1):
        assert same(epoch_of(workers, number), epoch_of(plain, number))


def test_loading_leaves_torch_s_generator_alone(rows):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    epoch_of(loader(rows), 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_processes_take_different_batches(rows):
    options = {"m_per_class": 1, "batch_size": 2, "world_size": 2}
    parts = [epoch_of(loader(rows, rank=rank, **options), 1) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 3]
    lines = [utt for part in parts for utts, _, _ in part for utt in utts]
    assert sorted(lines) == sorted(row["utt"] for row in rows)


def test_several_lengths_take_turns_in_changing_order(rows):
    lengths = (30, 20, 10)
    loaders = [loader(rows, chunk_frame=n, seed=i) for i, n in enumerate(lengths)]

    def order(seed, epoch):
        return [batch[1].shape[1] for batch in multi_length_batches(loaders, seed, epoch)]

    found = [order(1, epoch) for epoch in range(6)]
    for one in found:
        assert len(one) == 9
        assert all(sorted(one[at : at + 3]) == [10, 20, 30] for at in range(0, 9, 3))
    turns = {tuple(one[at : at + 3]) for one in found for at in range(0, 9, 3)}
    assert len(turns) >= 4
    assert order(1, 2) == found[2]
    assert [order(2, epoch) for epoch in range(6)] != found
    first = list(multi_length_batches(loaders, 1, 4))
    assert same(first, list(multi_length_batches(loaders, 1, 4)))


def shifts(rows, *, both=True):
    """True shifts: version v begins 2 v s later, so what is at t in it is at t - 2 v in v 0."""
    found = {}
    for i in rows:
        for j in rows:
            if i["song_id"] == j["song_id"] and (both or i["version"] < j["version"]):
                found[i["utt"], j["utt"]] = 2.0 * (i["version"] - j["version"])
    return found


@pytest.mark.parametrize("both", [True, False])
def test_aligned_chunks_begin_where_they_sound_alike(rows, both):
    by_utt = {row["utt"]: row for row in rows}
    one = loader(rows, m_per_class=3, batch_size=6, alignment=shifts(rows, both=both))
    begins = []
    for epoch in range(30):
        for utts, chunks, labels in epoch_of(one, epoch):
            starts = (-chunks[:, 0, 0]).int().tolist()
            for work in set(labels.tolist()):
                places = [n for n, label in enumerate(labels.tolist()) if label == work]
                anchor = places[0]  # all are aligned with all, so the first is the anchor
                begins.append(starts[anchor])
                for place in places[1:]:
                    row, other = by_utt[utts[anchor]], by_utt[utts[place]]
                    later = 2 * RATE * (other["version"] - row["version"])
                    wanted = starts[anchor] + later
                    assert starts[place] == min(max(wanted, 0), other["feat_len"] - 20)
    assert len(set(begins)) > 60  # the anchor itself begins anywhere


def test_what_is_not_aligned_begins_at_random(rows):
    known = {key: shift for key, shift in shifts(rows).items() if not key[0].startswith("sp_")}
    known = {key: shift for key, shift in known.items() if not key[1].startswith("sp_")}
    starts = AlignedStarts(rows, known, frames=20, seed=1)
    # The copy in another tempo stands first, but the other two are aligned with each other.
    found = [starts([2, 0, 1], epoch=epoch, position=0) for epoch in range(50)]
    for copy, first, second in found:
        assert copy is None
        assert second == min(first + 2 * RATE, rows[1]["feat_len"] - 20)
    assert len({first for _, first, _ in found}) > 30
    nothing = AlignedStarts(rows, {}, frames=20, seed=1)([0, 1, 2, 3], epoch=0, position=0)
    assert nothing[1:3] == [None, None]


def test_the_anchor_begins_where_it_would_without_alignment(rows):
    plain, aligned = loader(rows, seed=9), loader(rows, seed=9, alignment={})
    assert same(epoch_of(plain, 2), epoch_of(aligned, 2))


def test_the_same_line_twice_is_cut_at_the_same_place(rows):
    starts = AlignedStarts(rows, {}, frames=20)([5, 5], epoch=0, position=0)
    assert starts[0] == starts[1]


def test_recordings_shorter_than_a_chunk_begin_at_their_beginning(rows):
    starts = AlignedStarts(rows, shifts(rows), frames=5000)([0, 1, 2], epoch=0, position=0)
    assert starts == [0, 0, 0]


def test_too_few_works_are_named(rows):
    with pytest.raises(UserError, match=r"4 work\(s\).*takes 8 works"):
        loader(rows, batch_size=16)


def test_faults_in_worker_processes_keep_their_sentence(rows, tmp_path):
    broken = [row | {"feat": str(tmp_path / "gone.npy")} for row in rows]
    for workers in (0, 1):
        with pytest.raises(UserError) as error:
            epoch_of(loader(broken, num_workers=workers), 0)
        assert str(error.value).startswith(f"the feature file {tmp_path}/gone.npy does not exist")
        assert "\n" not in str(error.value)
