"""CoverHunter: from a chunk of CQT to one embedding.

Liu et al., "CoverHunter: Cover song identification with refined attention and alignments" (ICME
2023), with the parameter names of its published checkpoints.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from src.losses import (
    CenterLoss,
    FocalLoss,
    HardTripletLoss,
    SupConLoss,
    imitation_loss,
    relation_loss,
)
from src.models.conformer import HEADS, ConformerEncoder, norm_frames
from src.models.pooling import AttentiveStatisticsPooling
from src.models.subsampling import SHORTEST

TRIPLET_OFF = 0.01  # weights up to this one switch the triplet loss off, as in the original
FOCAL_BLOCKS = ("ce", "foc")  # older and newer name in the configuration


class CoverHunter(nn.Module):
    """CQT in dB ``(B, T, input_dim)`` to embeddings ``(B, embed_dim)``.

    The input is the mean over ``mean_size`` frames of a CQT in dB, 0 dB the loudest point of the
    recording. The embedding is not normalised; recordings are compared by its cosine.

    Args:
        hp: the configuration (hparams.yaml) as a dictionary. Read are ``input_dim``,
            ``embed_dim``, ``mean_size``, ``encoder`` (``output_dims``, ``num_blocks``,
            ``attention_dim``: the width of the feed-forward layers), ``ce`` or ``foc``
            (``output_dims``: number of works, ``weight``, ``gamma``, ``alpha``: a list of class
            weights), ``triplet`` (``margin``, ``weight``), ``center`` (``weight``) and, not in the
            paper, ``contrastive`` (``temperature``, ``weight``) and ``teacher`` (``weight``);
            anything else is ignored.

    Attributes:
        hparams: a copy of the configuration.
        embed_dim: size of the embedding.
        mean_size: how many CQT frames are averaged to one frame of the input.

    Raises:
        ValueError: a size is missing, not a positive integer, or does not fit the others.
    """

    def __init__(self, hp: Mapping[str, Any]) -> None:
        super().__init__()
        self.hparams = copy.deepcopy(dict(hp))
        self.input_dim = _size(hp, "input_dim")
        self.embed_dim = _size(hp, "embed_dim")
        self.mean_size = _size({"mean_size": 1, **hp}, "mean_size")
        encoder = _block(hp, "encoder")
        width = _size(encoder, "output_dims", "encoder")
        if self.input_dim < SHORTEST:
            raise ValueError(f"input_dim must be at least {SHORTEST}, not {self.input_dim}")
        if width % HEADS:
            raise ValueError(f"encoder.output_dims must be a multiple of {HEADS}, not {width}")
        focal = next((_block(hp, name) for name in FOCAL_BLOCKS if hp.get(name)), None)
        if focal is None:
            raise ValueError("the configuration has no block ce (or foc) with output_dims")
        classes = _size(focal, "output_dims", "ce")
        triplet, center, contrastive, teacher = (
            hp.get(name) or {} for name in ("triplet", "center", "contrastive", "teacher")
        )

        self._global_cmvn = nn.BatchNorm1d(self.input_dim)
        self._encoder = ConformerEncoder(
            self.input_dim,
            width,
            _size(encoder, "num_blocks", "encoder"),
            _size(encoder, "attention_dim", "encoder"),
        )
        if width != self.embed_dim:
            self._embed_lo = nn.Linear(width, self.embed_dim)
        self._bottleneck = nn.BatchNorm1d(self.embed_dim)
        self._bottleneck.bias.requires_grad_(False)
        self._pool_layer = AttentiveStatisticsPooling(self.embed_dim)
        self._ce_layer = nn.Linear(self.embed_dim, classes, bias=False)

        alpha = focal.get("alpha")
        if alpha is not None and len(alpha) != classes:
            raise ValueError(f"ce.alpha has {len(alpha)} weights for {classes} classes")
        self._ce_loss = FocalLoss(_number(focal, "gamma", "ce", 2), alpha)
        self._triplet_loss = HardTripletLoss(_number(triplet, "margin", "triplet", 0.3))
        self._center_loss = CenterLoss(classes, self.embed_dim)
        self._contrastive_loss = SupConLoss(contrastive.get("temperature", 0.1))
        self._weights = {
            "ce_loss": _number(focal, "weight", "ce", 1.0),
            "tri_loss": _number(triplet, "weight", "triplet", 0.0),
            "cen_loss": _number(center, "weight", "center", 0.0),
            "con_loss": contrastive.get("weight", 0.0),
            "tea_loss": teacher.get("weight", 0.0),
            "rel_loss": teacher.get("relations", 0.0),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Embed a batch of chunks.

        Args:
            x: ``(B, T, input_dim)`` floats, T at least 7.

        Returns:
            ``(B, embed_dim)`` float32, also under autocast.

        Raises:
            ValueError: another shape.
        """
        self._require_shape(x)
        x = self._encoder(norm_frames(self._global_cmvn, x))  # (B, T', d)
        if hasattr(self, "_embed_lo"):
            x = self._embed_lo(x)
        return self._pool_layer(x)

    def inference(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(B, embed_dim)`` and class scores ``(B, classes)``.

        The scores are those of the embedding itself, without the batch norm that stands before
        the class layer in training: the original's definition.
        """
        embeddings = self(x)
        return embeddings, self._ce_layer(embeddings)

    def compute_loss(
        self, x: Tensor, labels: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses, and each loss by itself.

        Args:
            x: see :meth:`forward`.
            labels: class numbers ``(B,)``.
            targets: ``(B, embed_dim)``, what a teacher says; None: no teacher.

        Returns:
            The total, and the unweighted ``ce_loss``, ``tri_loss``, ``cen_loss``, ``con_loss``,
            ``tea_loss`` and ``rel_loss``; a loss that the configuration switches off is absent.

        Raises:
            ValueError: another shape, a label out of range, or one item in training mode.
        """
        classes = self._ce_layer.out_features
        if labels.numel() != len(x) or len(x) == 0:
            raise ValueError(f"{len(x)} chunks need {len(x)} labels, not {labels.numel()}")
        # Where asking is free: elsewhere the device would have to finish its work first.
        if labels.is_cpu and not torch.compiler.is_compiling():
            lowest, highest = int(labels.min()), int(labels.max())
            if not 0 <= lowest <= highest < classes:
                raise ValueError(
                    f"labels must be class numbers below {classes} (ce.output_dims), not "
                    f"{lowest}..{highest}"
                )
        if self.training and len(x) < 2:
            raise ValueError("training needs at least two chunks in a batch")
        embeddings = self(x)
        parts = {}
        with torch.autocast(x.device.type, enabled=False):
            if self._weights["ce_loss"] > 0:
                scores = self._ce_layer(self._bottleneck(embeddings))
                parts["ce_loss"] = self._ce_loss(scores, labels)
            if self._weights["tri_loss"] > TRIPLET_OFF:
                parts["tri_loss"] = self._triplet_loss(embeddings, labels)
            if self._weights["cen_loss"] > 0:
                parts["cen_loss"] = self._center_loss(embeddings, labels)
            if self._weights["con_loss"] > 0:
                parts["con_loss"] = self._contrastive_loss(embeddings, labels)
            if targets is not None and self._weights["tea_loss"] > 0:
                parts["tea_loss"] = imitation_loss(embeddings, targets)
            if targets is not None and self._weights["rel_loss"] > 0:
                parts["rel_loss"] = relation_loss(embeddings, targets)
        if not parts:
            raise ValueError("the weights of all losses are 0: there is nothing to train")
        total = sum(self._weights[name] * part for name, part in parts.items())
        return total, parts

    def _require_shape(self, x: Tensor) -> None:
        expected = f"(batch, frames, {self.input_dim})"
        if x.ndim != 3 or x.shape[2] != self.input_dim:
            raise ValueError(
                f"CoverHunter takes CQT frames of shape {expected}, not {tuple(x.shape)}"
            )
        if x.shape[1] < SHORTEST:
            raise ValueError(
                f"CoverHunter needs at least {SHORTEST} frames (after the mean over "
                f"{self.mean_size}), but the input of shape {tuple(x.shape)} has {x.shape[1]}"
            )
        if not x.is_floating_point():
            raise ValueError(f"CoverHunter takes floating-point dB values, not {x.dtype}")


def _block(hp: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = hp.get(name)
    if not isinstance(block, Mapping):
        raise ValueError(f"the configuration has no block {name}")
    return block


def _size(hp: Mapping[str, Any], name: str, block: str = "") -> int:
    value = hp.get(name)
    shown = f"{block}.{name}" if block else name
    if value is None:
        raise ValueError(f"{shown} is missing in the configuration")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{shown} must be a positive integer, not {value!r}")
    return value


def _number(block: Mapping[str, Any], name: str, title: str, default: float) -> float:
    value = block.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{title}.{name} must be a number of at least 0, not {value!r}")
    return value
