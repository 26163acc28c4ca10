"""hparams.yaml: what is read, and one sentence for every fault."""

from pathlib import Path

import pytest
import yaml

from src.audio.cqt import CQTSpec
from src.config import load_extract_hparams, load_hparams
from src.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]

EXAMPLE = """
train_path: data/x/train.txt
train_sample_path: data/x/train-sample.txt
dev_path: data/x/dev.txt
covers80: {query_path: data/x/full.txt, ref_path: data/x/full.txt, every_n_epoch_to_dev: 2}
my demo: {query_path: a.txt, ref_path: b.txt, query_in_ref_path: c.txt}
batch_size: 32
m_per_class: 4
chunk_frame: [1125, 900, 675]
chunk_s: 135
cqt: {hop_size: 0.04}
data_type: cqt
device: mps
mean_size: 3
mode: random
spec_augmentation:
  random_erase: {prob: 0.5, erase_num: 4}
  roll_pitch: {prob: 0.5, shift_num: 12}
input_dim: 96
embed_dim: 64
encoder: {output_dims: 64, attention_dim: 96, num_blocks: 2}
pool_type: attention
foc: {output_dims: 50, weight: 1.0, gamma: 2}
triplet: {margin: 0.3, weight: 0.1}
center: {weight: 0.01}
learning_rate: 1e-3
adam_b1: 0.8
adam_b2: 0.99
lr_decay: 0.9975
min_lr: 1e-4
early_stopping_patience: 8
seed: 7
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        (tmp_path / "config").mkdir(exist_ok=True)
        for path in (tmp_path / "config" / "hparams.yaml", tmp_path / "hparams.yaml"):
            path.write_text(text, "utf-8")
        return tmp_path

    return write


def test_an_example(write):
    hp = load_hparams(write(EXAMPLE))
    assert (hp.batch_size, hp.m_per_class, hp.learning_rate, hp.min_lr) == (32, 4, 0.001, 0.0001)
    assert hp.focal.output_dims == 50
    assert hp.encoder.num_blocks == 2
    assert hp.device == "mps"
    assert hp.feature_spec == CQTSpec()
    assert hp.frames_per_second == 25
    assert list(hp.test_sets) == ["covers80", "my demo"]
    assert hp.test_sets["covers80"].every_n_epoch_to_dev == 2
    assert hp.test_sets["my demo"].query_in_ref_path == "c.txt"


def test_a_dict_of_it_is_a_file_of_it(write):
    hp = load_hparams(write(EXAMPLE))
    values = hp.to_dict()
    assert values["foc"] == {"output_dims": 50, "weight": 1.0, "gamma": 2.0}
    assert "ce" not in values
    assert values["my demo"]["ref_path"] == "b.txt"
    assert load_hparams(write(yaml.safe_dump(values))) == hp


def test_an_empty_file_has_the_values_of_the_example_of_the_original(write):
    hp = load_hparams(write("# nothing\n"))
    assert hp.chunk_frame == [1125, 900, 675]
    assert (hp.batch_size, hp.m_per_class, hp.mean_size) == (64, 8, 3)
    assert (hp.learning_rate, hp.lr_decay, hp.min_lr) == (0.001, 0.99, 0.0001)
    assert (hp.adam_b1, hp.adam_b2, hp.weight_decay) == (0.8, 0.99, 0.01)
    assert hp.device == "auto"
    assert hp.test_sets == {}
    assert hp.train_path is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 135),
        ("chunk_frame: [125]", 15),
        ("chunk_frame: [100]\nmean_size: 1", 4),
        ("cqt: {hop_size: 0.02}", 67.5),
    ],
)
def test_the_length_of_a_chunk_is_computed(write, text, seconds):
    assert load_hparams(write(text)).chunk_s == pytest.approx(seconds)
    assert load_hparams(write(f"{text}\nchunk_s: {seconds}")).chunk_s == seconds


FAULTS = {
    "batch_sise: 3": "unknown key batch_sise; the nearest known key is batch_size",
    "ce: {output_dim: 3}": "unknown key ce.output_dim; the nearest known key is output_dims",
    "spec_augmentation: {random_erease: {prob: 1}}": (
        "unknown key spec_augmentation.random_erease; the nearest known key is random_erase"
    ),
    "demo: {query_path: a, ref_path: b, refs: 2}": "unknown key demo.refs; the nearest known key",
    "covers80: {query: a, ref: b}": "unknown key covers80",
    "covers80: {query_path: a}": "the key covers80.ref_path is missing",
    "test_sets: {a: {query_path: x, ref_path: y}}": "unknown key test_sets; a test set is a block",
    "batch_size: 60": "m_per_class must divide batch_size, but 60 is no multiple of 8",
    "chunk_s: 45": "chunk_s is 45, but chunk_frame[0] * mean_size / frames per second = 1125 * 3",
    "chunk_frame: 1125": "chunk_frame must be a list of whole numbers, such as [1125, 900, 675]",
    "chunk_frame: [1125, long]": "chunk_frame must be a list of whole numbers",
    "chunk_frame: []": "chunk_frame must be a list of whole numbers",
    "mean_size: 3.5": "mean_size must be a whole number, such as 3, not 3.5",
    "mean_size: true": "mean_size must be a whole number, such as 3, not True",
    "batch_size: many": "batch_size must be a whole number, such as 64, not 'many'",
    "batch_size: -8": "batch_size must be a whole number, such as 64, not -8",
    "learning_rate: 0": "learning_rate must be a number such as 0.001, not 0",
    "learning_rate: .nan": "learning_rate must be a number such as 0.001, not nan",
    "adam_b1: 1.0": "adam_b1 must be a number from 0 up to 1",
    "seed: -1": "seed must be a whole number from 0",
    "device: tpu": "device must be auto, cpu, cuda, cuda:N or mps, not 'tpu'",
    "data_type: mel": "data_type must be cqt (nothing else is implemented), not 'mel'",
    "mode: rndom": "mode must be random or defined, not 'rndom'",
    "encoder: 3": "encoder must be a block with output_dims and so on, not 3",
    "train_path: 3": "train_path must be the path of a list, such as train.txt, not 3",
    "spec_augmentation: {random_erase: {prob: 2}}": (
        "spec_augmentation.random_erase.prob must be a probability between 0 and 1, not 2"
    ),
    "foc: {output_dims: 3}\nce: {output_dims: 4}": "ce and foc are two names of the same block",
    "input_dim: 84": "input_dim is 84, but the cqt block gives 96 bins",
    "cqt: {fmin: 9000}": "the cqt block describes no CQT",
    "cqt: {fmin: deep}": "cqt.fmin must be a frequency in Hz, such as 32, not 'deep'",
    "- 3": "must consist of lines such as batch_size: 64",
    "just text": "must consist of lines such as batch_size: 64",
    "a: b: c": "line 1 is no valid YAML",
    "seed: 1\n\nseed: 2": "line 3 is no valid YAML: the key seed stands there twice",
    "compile: 'no'": "compile must be true or false, not 'no'",
    "learning_rate: !!python/name:os.system x": "is no valid YAML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_every_fault_is_one_sentence(write, text):
    folder = write(text)
    with pytest.raises(UserError) as error:
        load_hparams(folder)
    message = str(error.value)
    assert message.startswith(str(folder / "config" / "hparams.yaml"))
    assert FAULTS[text] in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*config/hparams\.yaml: No such file"):
        load_hparams(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*hparams\.yaml: No such file"):
        load_extract_hparams(tmp_path)


def test_bytes_that_are_no_text(write):
    folder = write("")
    (folder / "config" / "hparams.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        load_hparams(folder)


def test_keys_that_have_no_effect_or_no_value_are_passed_over(write):
    hp = load_hparams(write("warmup_steps: 100\npool_type: x\nbatch_size:\nencoder:\n"))
    assert hp.batch_size == 64
    assert hp.encoder.num_blocks == 6


def test_a_model_that_others_configured(write):
    text = "device: mps\nfoo: {a: 1}\nencoder: {num_blocks: 2, bar: 3}\nbatch_size: 60\n"
    folder = write(
        text + "demo: {query_path: a, ref_path: b, refs: 2}\ncqt: {hop_size: 0.04, x: 1}"
    )
    hp = load_hparams(folder, strict=False)
    assert hp.encoder.num_blocks == 2
    assert hp.test_sets["demo"].query_path == "a"
    with pytest.raises(UserError, match="mean_size must be a whole number"):
        load_hparams(write("foo: 3\nmean_size: x"), strict=False)


def test_paths_that_stand_alone_are_a_test_set(write):
    hp = load_hparams(write("query_path: a\nref_path: b\nevery_n_epoch_to_dev: 5"))
    assert hp.test_sets["testset"].ref_path == "b"
    assert hp.test_sets["testset"].every_n_epoch_to_dev == 5


def test_the_newer_names_of_the_cqt(write):
    text = "cqt: {fmin: 65.4, bins_per_octave: 24, n_bins: 144, hop_size: 0.02}\ninput_dim: 144"
    hp = load_hparams(write(text))
    expected = CQTSpec(hop_size=0.02, octave_resolution=24, min_freq=65.4, n_bins=144)
    assert hp.feature_spec == expected
    assert load_hparams(write(yaml.safe_dump(hp.to_dict()))).feature_spec == expected


def test_extraction(write):
    hp = load_extract_hparams(
        write(
            """
            aug_speed_mode: [0.8, 1, 1.25]
            train-sample_data_split: 0.1
            train-sample_unseen: 0.02
            test_data_split: 0.1
            test_data_unseen: 0
            add_noise: {prob: 0.75, sr: 16000, chunk: 3, name: n, noise_path: noise.txt}
            fmin: 65.4
            n_bins: 72
            bins_per_octave: 12
            """
        )
    )
    assert [str(speed) for speed in hp.aug_speed_mode] == ["0.8", "1", "1.25"]
    assert hp.splits
    assert (hp.train_sample_data_split, hp.train_sample_unseen) == (0.1, 0.02)
    assert (hp.test_data_split, hp.test_data_unseen) == (0.1, 0)
    assert hp.add_noise.noise_path == "noise.txt"
    assert hp.feature_spec == CQTSpec(min_freq=65.4, n_bins=72)


def test_extraction_without_anything(write):
    hp = load_extract_hparams(write(""))
    assert hp.aug_speed_mode == [1.0]
    assert hp.add_noise is None
    assert not hp.splits
    assert hp.feature_spec == CQTSpec()
    assert load_extract_hparams(write("val_unseen: 0.1")).train_sample_unseen == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aug_speed_mode: 1.1", "aug_speed_mode must be a list of ratios"),
        ("aug_speed_mode: [0.9, 0]", "aug_speed_mode must be a list of ratios"),
        ("aug_speed_mod: [1]", "the nearest known key is aug_speed_mode"),
        ("val_unseen: 2", "val_unseen must be a share between 0 and 1, not 2"),
        ("test_data_split: 0.9\nval_data_split: 0.3", "add up to 1.2"),
        ("add_noise: {prob: 1}", "the key add_noise.noise_path is missing"),
        ("add_noise: {noise_path: a, volume: [1, 0]}", "add_noise: the ranges volume and snr_db"),
        ("n_bins: 200", "these settings describe no CQT"),
        ("cqt: 3\nfmin: 32", "cqt must be a block"),
    ],
)
def test_faults_of_extraction(write, text, message):
    with pytest.raises(UserError) as error:
        load_extract_hparams(write(text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_bundled_configurations(write):
    for folder in sorted((REPOSITORY / "egs").rglob("config")):
        assert load_hparams(folder.parent).train_path
    for path in sorted((REPOSITORY / "data").glob("covers80*/hparams.yaml")):
        assert load_extract_hparams(path.parent).aug_speed_mode
    for path in (REPOSITORY / "egs").glob("*/split.yaml"):
        assert load_extract_hparams(write(path.read_text("utf-8"))).test_data_unseen
