"""What differs between the four kinds of Re-MOVE experiment.

Each experiment owns its network and what is trained beside it, says which parameters learn at
which rate, and turns a batch into a loss; the loop that drives it is the same for all four.
Source: Yesiler, Serrà and Gómez, "Less is more: Faster and better music version identification
with embedding distillation" (ISMIR 2020).
"""

from collections.abc import Mapping

import torch
from torch import nn

from src.config import CONTRASTIVE, GROUP, NORMALIZED_SOFTMAX, PROXY_NCA, TRIPLET, RemoveConfig
from src.losses import (
    SupConLoss,
    group_loss,
    kd_cluster_loss,
    kd_distance_loss,
    normalized_softmax_loss,
    proxy_nca_loss,
    triplet_loss,
)
from src.models.move import MOVEModel

TEACHER_SIZE = 16000  # embedding size of MOVE, the network all experiments start from or imitate


class MetricLoss(nn.Module):
    """The loss chosen by ``--loss``, with its proxies where it has any.

    Args:
        config: options ``loss``, ``margin``, ``mining_strategy`` and ``temperature``.
        num_classes: number of works among the labels.
        emb_size: size of the embeddings and the divisor of squared distances.
        loss: overrides ``config.loss``.
    """

    def __init__(
        self, config: RemoveConfig, num_classes: int, emb_size: int, *, loss: int | None = None
    ) -> None:
        super().__init__()
        self.loss = config.loss if loss is None else loss
        self.margin = config.margin
        self.mining_strategy = config.mining_strategy
        self.emb_size = emb_size
        if self.loss == CONTRASTIVE:
            self.contrastive = SupConLoss(config.temperature)
        elif self.loss != TRIPLET:
            self.proxies = nn.Parameter(torch.randn(num_classes, emb_size))

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Loss of ``(N, emb_size)`` embeddings with ``(N,)`` labels; mining draws are seeded."""
        if self.loss == PROXY_NCA:
            return proxy_nca_loss(embeddings, labels, self.proxies, self.emb_size)
        if self.loss == NORMALIZED_SOFTMAX:
            return normalized_softmax_loss(embeddings, labels, self.proxies)
        if self.loss == GROUP:
            return group_loss(embeddings, labels, self.proxies)
        if self.loss == CONTRASTIVE:
            return self.contrastive(embeddings, labels)
        return triplet_loss(
            embeddings,
            labels,
            self.margin,
            self.mining_strategy,
            self.emb_size,
            generator=generator,
        )


def new_network(config: RemoveConfig) -> MOVEModel:
    """An untrained network as the options want it."""
    return MOVEModel(config.emb_size, mean_frames=config.mean_frames, padding=config.padding)


class Baseline(nn.Module):
    """A network of the wanted size, trained from scratch."""

    def __init__(
        self, config: RemoveConfig, num_classes: int, *, model: MOVEModel | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.model = new_network(config) if model is None else model
        self.model.train()
        self.metric = MetricLoss(config, num_classes, config.emb_size)

    def parameter_groups(self) -> list[dict]:
        """Parameters and their learning rates, as an optimizer takes them."""
        return [{"params": list(self.parameters()), "lr": self.config.learning_rate}]

    def start_epoch(self, epoch: int) -> None:
        """Prepare epoch number ``epoch`` (from 0)."""

    def after_step(self) -> None:
        """Correct the weights after an optimizer step."""

    def forward(
        self, chroma: torch.Tensor, labels: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Loss of a batch of doubled chroma ``(B, 1, 23, T)`` with labels ``(B,)``."""
        return self.metric(self.model(chroma).float(), labels, generator)


class LatentSpaceReconfiguration(Baseline):
    """A trained network whose last layer is replaced by a smaller one.

    In the first epoch only the new layer (with proxies and batch norm statistics) learns; from
    the second on everything does, the old layers at ``finetune_learning_rate`` (with 0 they stay
    frozen, which saves their share of the work).
    """

    def __init__(self, config: RemoveConfig, num_classes: int, trained: MOVEModel) -> None:
        trained.replace_head(config.emb_size)
        super().__init__(config, num_classes, model=trained)

    def parameter_groups(self) -> list[dict]:
        new = [*self.model.lin1.parameters(), *self.metric.parameters()]
        ids = {id(parameter) for parameter in new}
        old = [parameter for parameter in self.parameters() if id(parameter) not in ids]
        return [
            {"params": old, "lr": self.config.finetune_learning_rate},
            {"params": new, "lr": self.config.learning_rate},
        ]

    def start_epoch(self, epoch: int) -> None:
        learns = epoch > 0 and self.config.finetune_learning_rate > 0
        for parameter in self.parameter_groups()[0]["params"]:
            parameter.requires_grad_(learns)


class DistanceDistillation(Baseline):
    """A new student that keeps the distances of a frozen teacher, plus a triplet loss."""

    def __init__(self, config: RemoveConfig, num_classes: int, teacher: MOVEModel) -> None:
        super().__init__(config, num_classes)
        self.metric = MetricLoss(config, num_classes, config.emb_size, loss=TRIPLET)
        # In a tuple: the teacher is neither trained nor saved with the student.
        self._teacher = (teacher.eval().requires_grad_(False),)

    def _apply(self, fn, recurse: bool = True):  # moves the teacher along with the student
        self._teacher[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(
        self, chroma: torch.Tensor, labels: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        student = self.model(chroma).float()
        with torch.no_grad():
            teacher = self._teacher[0](chroma).float()
        return kd_distance_loss(student, teacher) + self.metric(student, labels, generator)


class ClusterDistillation(Baseline):
    """A new student whose clusters resemble projected centroids of a teacher, plus triplets.

    Args:
        centroids: work number to the teacher's mean embedding ``(1, 16000)``.
    """

    def __init__(
        self, config: RemoveConfig, num_classes: int, centroids: Mapping[int, torch.Tensor]
    ) -> None:
        super().__init__(config, num_classes)
        self.metric = MetricLoss(config, num_classes, config.emb_size, loss=TRIPLET)
        size = next(iter(centroids.values())).shape[-1]
        self.projection = nn.Linear(size, config.emb_size, bias=False)
        self._centroids = dict(centroids)

    def _apply(self, fn, recurse: bool = True):
        self._centroids = {label: fn(value) for label, value in self._centroids.items()}
        return super()._apply(fn, recurse)

    def forward(
        self, chroma: torch.Tensor, labels: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        student = self.model(chroma).float()
        clusters = kd_cluster_loss(student, labels, self._centroids, self.projection)
        return clusters + self.metric(student, labels, generator)


class Pruning(Baseline):
    """The full network; after each training cycle the weakest outputs are cut and all is rewound.

    The embedding keeps its full width: outputs that are cut have zero weights, are constant after
    the batch norm and add nothing to a distance.
    """

    def __init__(self, config: RemoveConfig, num_classes: int) -> None:
        super().__init__(config.model_copy(update={"emb_size": TEACHER_SIZE}), num_classes)
        # The divisor of the distances is the option, as in the original.
        self.metric = MetricLoss(config, num_classes, config.emb_size, loss=TRIPLET)
        self.register_buffer("kept", torch.ones(TEACHER_SIZE, dtype=torch.bool))

    @torch.no_grad()
    def after_step(self) -> None:
        self.model.lin1.weight.mul_(self.kept[:, None])


# Outputs cut after training cycle 0, 1, 2, ... of 16000.
PRUNED_OUTPUTS = (8000, 12000, 13952, 14976, 15488, 15744, 15872)


def weakest_outputs(weight: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` outputs of a linear layer with the smallest mean absolute weight.

    Args:
        weight: ``(outputs, inputs)``.
        count: how many to choose.

    Returns:
        ``(outputs,)`` bool, True where an output is chosen. Outputs that are zero already are
        always among the weakest.
    """
    chosen = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    chosen[weight.abs().mean(dim=1).topk(count, largest=False).indices] = True
    return chosen
