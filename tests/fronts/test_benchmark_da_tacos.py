import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.data.da_tacos_tree import EXPECTED, make_tree

ROOT = Path(__file__).resolve().parents[2]
HELP = """usage: benchmark_da-tacos.py [-h] [--outputdir OUTPUTDIR] [--unpack]
                             [--remove]

Downloading and preprocessing cremaPCP features of the Da-TACOS benchmark
subset

optional arguments:
  -h, --help            show this help message and exit
  --outputdir OUTPUTDIR
                        Directory to store the dataset (default: ./data)
  --unpack              Unpack the zip files (default: False)
  --remove              Remove zip files after unpacking (default: False)
"""


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmark_da-tacos.py"), *arguments],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def words(text):
    """Text without its line breaks, which argparse sets differently from release to release."""
    return re.sub(r"\s+", " ", text.replace("optional arguments:", "options:")).strip()


def test_the_help_is_that_of_the_original(tmp_path):
    result = run("-h", cwd=tmp_path)
    assert words(result.stdout) == words(HELP)


def test_an_unpacked_tree_is_converted_below_the_current_folder(tmp_path):
    make_tree(tmp_path / "data")
    result = run("--unpack", "--remove", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "7 recordings of 3 works" in result.stdout
    content = torch.load(tmp_path / "data" / "benchmark_crema.pt", weights_only=True)
    assert content["labels"] == EXPECTED["labels"]
    assert (tmp_path / "data" / "ytrue_benchmark.pt").is_file()


@pytest.mark.parametrize("name", ["da-tacos_metadata.zip", "nothing.txt"])
def test_a_refusing_network_ends_in_one_sentence(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("half a file")
    nowhere = "http://127.0.0.1:9"  # a proxy that is not there
    proxies = {"HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": "", "no_proxy": ""}
    result = run("--outputdir", "out", "--unpack", cwd=tmp_path, **proxies)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("error: cannot download da-tacos_metadata.zip")
    assert "https://zenodo.org/records/3520368" in sentence
    assert ("damaged" in sentence) == (name == "da-tacos_metadata.zip")
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [name]
