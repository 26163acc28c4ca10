"""The table of speed and memory: rows measure what they say, and none spoils another."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import measuring, table
from benchmarks.table_rows import QUICK, ROWS, VERSIONS_A_WORK, Row, Setting, Sizes
from src.corpus.tune import save_tunes
from src.errors import UserError
from tests.corpus.tunes import simple_tune

TINY = replace(
    QUICK, seconds=42, file_seconds=2, frames=410, batch=2, references=500, queries=3, pairs=1
)
HELD = 700_000_000  # bytes, more than any row of small sizes
FOUND = {"seconds": 0.25, "figure": "4 things/s", "bytes": 300 * table.MIB}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def setting(tmp_path) -> Setting:
    tunes = tmp_path / "tunes.json"
    save_tunes([simple_tune()], tunes)
    return Setting(torch.device("cpu"), 1, tunes, 8, TINY)


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("notes", 1),
        ("crema", TINY.files * TINY.file_seconds),
        ("cqt", TINY.seconds),
        ("move-step", TINY.batch),
        ("coverhunter-step-16", TINY.batch),
        ("move-embed", 1),
        ("coverhunter-embed", 1),
        ("search", 1),
    ],
)
def test_the_figure_of_a_row_is_its_amount_by_its_seconds(name, amount, setting):
    found = table.measured(ROWS[name], setting)
    figure = float(found["figure"].split()[0].replace(",", ""))
    assert figure == pytest.approx(amount / found["seconds"], rel=0.02, abs=0.6)
    assert found["bytes"] > 50 * table.MIB


def test_a_row_without_its_files_says_which(setting, tmp_path):
    missing = replace(setting, tunes=tmp_path / "nothing.json")
    found = table.measured(ROWS["notes"], missing)
    assert list(found) == ["left_out"]
    assert "nothing.json" in found["left_out"]
    cells = next(table.lines(ROWS["notes"], missing, found))
    assert "nothing.json" in cells[1]
    assert len(cells) == len(table.COLUMNS)


def test_mixed_precision_is_left_out_where_the_trainers_leave_it_out(setting):
    apple = replace(setting, device=torch.device("mps"))
    for name in ("move-step-16", "coverhunter-step-16"):
        assert "mixed precision" in table.measured(ROWS[name], apple)["left_out"]


def test_the_epoch_follows_from_the_step(setting):
    setting = replace(setting, works=1400, sizes=Sizes())
    step, epoch = table.lines(ROWS["move-step"], setting, FOUND)
    assert "64 patches of 450 frames, float32" in step[0]
    steps = 1400 * VERSIONS_A_WORK // 64
    assert f"{steps} such steps (computed)" in epoch[0]
    assert float(epoch[2]) == pytest.approx(0.25 * steps, rel=0.01)
    assert float(epoch[1].split()[0]) == pytest.approx(0.25 * steps / 60, abs=0.05)


def test_memory_of_the_accelerator_stands_beside_that_of_the_process(setting):
    found = {**FOUND, "device_bytes": 2 * table.MIB}
    assert next(table.lines(ROWS["cqt"], setting, FOUND))[3] == "300"
    assert next(table.lines(ROWS["cqt"], setting, found))[3] == "300 + 2 on the GPU"


def test_every_row_names_its_sizes(setting):
    for row in ROWS.values():
        title = row.title(setting)
        assert "{" not in title
    assert "bfloat16" in ROWS["coverhunter-step-16"].title(setting)


def test_the_whole_table(capsys, monkeypatch):
    """Rows go to processes with the threads that they say; one that dies is a row too."""
    asked = {}

    def answer(module, arguments, environment):
        values = list(map(str, arguments))
        name = values[values.index("--row") + 1]
        asked[name] = values[values.index("--threads") + 1]
        assert environment == {table.THREADS_VARIABLE: asked[name]}
        assert "--quick" in values
        if name == "qmax":
            raise subprocess.CalledProcessError(-9, module, stderr="")
        return FOUND

    monkeypatch.setattr(table, "in_own_process", answer)
    assert table.main(["--quick", "--device", "cpu", "--threads", "3"]) == 1
    machine, empty, *rows = capsys.readouterr().out.splitlines()
    assert f"torch {torch.__version__}" in machine
    assert empty == ""
    assert {row.count("|") for row in rows} == {len(table.COLUMNS) + 1}
    epochs = sum(bool(row.epoch) for row in ROWS.values())
    assert len(rows) == 2 + len(ROWS) + epochs
    assert asked == {name: "1" if row.one_thread else "3" for name, row in ROWS.items()}
    assert [row for row in rows if "failed: exit code -9" in row] == [
        row for row in rows if row.startswith("| Qmax")
    ]


def test_a_real_row_in_a_process_of_its_own(capsys):
    """Its peak memory is not that of the process that starts it."""
    held = bytearray(b"x") * HELD
    arguments = ["--quick", "--device", "cpu", "--threads", "1", "--only", "search"]
    assert table.main(arguments) == 0
    assert measuring.peak_bytes() > len(held)
    row = capsys.readouterr().out.splitlines()[-1]
    what, figure, seconds, memory, device, threads = (cell.strip() for cell in row.split("|")[1:-1])
    assert what == ROWS["search"].title(Setting(torch.device("cpu"), 1, table.TUNES, 1, QUICK))
    assert figure.endswith(" queries/s")
    assert 0 < float(seconds) < 1
    assert 50 < float(memory.replace(",", "")) < HELD / table.MIB
    assert (device, threads) == ("cpu", "1")


def test_a_device_that_is_not_here_is_refused_at_once():
    with pytest.raises(UserError, match="cuda:99"):
        table.main(["--device", "cuda:99"])


def test_a_row_that_needs_more_threads_gets_more_files(setting):
    assert replace(setting, threads=7).files == 7
    assert setting.files == TINY.files


def test_a_training_run_steps_and_an_embedding_run_does_not():
    model = torch.nn.Linear(3, 1, bias=False)
    x = torch.ones(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before = model.weight.detach().clone()
    cpu = torch.device("cpu")
    run = measuring.training_run(
        model, lambda: model(x).sum(), device=cpu, amp=False, update=optimizer.step
    )
    run()
    run()  # gradients do not pile up
    assert torch.allclose(model.weight, before - 2 * 0.5 * 2)
    embedded = measuring.embedding_run(lambda m, x: m(x), model, x, amp=False)()
    assert not embedded.requires_grad
    low = measuring.embedding_run(lambda m, x: m(x), model, x, amp=True)()
    assert low.dtype == torch.bfloat16


def test_laps_leave_the_first_turn_out():
    times = iter(range(100))
    laps = measuring.Laps(lambda: float(next(times)))
    for _ in laps.turns(4):
        laps.lap("one")
        next(times)
        laps.lap("two")
    assert laps.spent == {"one": 4.0, "two": 8.0}


def test_a_process_answers_with_its_last_line_or_says_why_it_failed(tmp_path):
    (tmp_path / "probe.py").write_text(
        "import json, os, sys\nprint('noise')\n"
        "if sys.argv[1] == 'bad':\n    sys.exit('a reason')\n"
        "print(json.dumps({'said': sys.argv[1:], 'variable': os.environ['PROBE']}))\n"
    )
    variables = {"PYTHONPATH": str(tmp_path), "PROBE": "x"}
    found = measuring.in_own_process("probe", ["good", 3], variables)
    assert found == {"said": ["good", "3"], "variable": "x"}
    with pytest.raises(subprocess.CalledProcessError) as caught:
        measuring.in_own_process("probe", ["bad"], variables)
    assert caught.value.stderr.strip() == "a reason"


def test_the_corpus_benchmarks_read_the_same_options(setting, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--tunes", str(setting.tunes), "--clock", "cpu"])
    tunes, options = measuring.tunes_to_play("text", versions=5)
    assert [tune.work for tune in tunes] == ["test/tune"]
    assert (options.versions, options.clock) == (5, "cpu")
    monkeypatch.setattr(sys, "argv", ["x", "--tunes", "nothing.json"])
    with pytest.raises(UserError, match=r"nothing\.json"):
        measuring.tunes_to_play("text", versions=5)


def test_a_row_prints_one_line_of_json(capsys, monkeypatch):
    row = Row("a thing", lambda setting: (2.0, "0.5 things/s"), one_thread=True)
    monkeypatch.setitem(ROWS, "search", row)
    assert table.main(["--row", "search", "--quick"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seconds"], found["figure"]) == (2.0, "0.5 things/s")
