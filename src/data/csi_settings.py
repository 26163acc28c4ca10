"""What hparams.yaml of a data folder asks of feature extraction."""

from src.data.csi_noise import NoiseSettings
from src.data.csi_pipeline import ExtractSettings
from src.data.splits import SplitShares
from src.extract_hparams import ExtractHparams


def extract_settings(hparams: ExtractHparams) -> ExtractSettings:
    """Settings of the pipeline. Of the four shares of the split, one that is left out is 0.

    Raises:
        UserError: the shares leave nothing to train on.
    """
    noise = hparams.add_noise
    shares = SplitShares(
        test_unseen=hparams.test_data_unseen or 0,
        validation_unseen=hparams.train_sample_unseen or 0,
        test=hparams.test_data_split or 0,
        validation=hparams.train_sample_data_split or 0,
    )
    return ExtractSettings(
        spec=hparams.feature_spec,
        speeds=tuple(hparams.aug_speed_mode),
        noise=noise
        and NoiseSettings(
            path=noise.noise_path,
            share=noise.prob,
            chunk_s=noise.chunk,
            volume=(noise.volume[0], noise.volume[1]),
            snr_db=noise.snr_db and (noise.snr_db[0], noise.snr_db[1]),
            seed=hparams.seed,
        ),
        shares=shares if hparams.splits else None,
        seed=hparams.seed,
    )
