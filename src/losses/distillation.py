"""Knowledge distillation: a small network learns the geometry of a large one (Re-MOVE, 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.losses.precision import flat_labels, full_precision
from src.models.pairwise import squared_euclidean

TEACHER_SIZE = 16000


@full_precision
def kd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference between the distances of the student and those of the teacher.

    Over all ordered pairs of different items; squared Euclidean distances, divided by the
    student's embedding size and by 16000. The teacher receives no gradient.

    Args:
        student: ``(N, D)``.
        teacher: ``(N, 16000)``, embeddings of the same items.
    """
    of_student = squared_euclidean(student) / student.shape[1]
    of_teacher = squared_euclidean(teacher.detach()) / TEACHER_SIZE
    difference = (of_student - of_teacher).abs()
    count = len(student)
    itself = torch.eye(count, dtype=torch.bool, device=difference.device)
    return difference.masked_fill(itself, 0.0).sum() / max(count * (count - 1), 1)


@full_precision
def kd_cluster_loss(
    student: Tensor, labels: Tensor, centroids: Mapping[int, Tensor], projection: nn.Linear
) -> Tensor:
    """Davies-Bouldin index of the batch around the teacher's centroids, projected.

    Davies and Bouldin, "A cluster separation measure" (1979). The spread of a cluster is the sum
    of the distances of its items to its centroid, divided by the size of the whole batch (a
    cluster with few items counts less); each label is charged with its worst neighbour. A batch
    of one label gives 0.

    Args:
        student: ``(N, D)``.
        labels: ``(N,)`` or ``(N, 1)``.
        centroids: class number -> ``(1, 16000)``.
        projection: ``nn.Linear(16000, D, bias=False)``, trained with the student.

    Raises:
        UserError: a label has no centroid.
    """
    labels = flat_labels(labels)
    classes, cluster = labels.unique(return_inverse=True)  # sorted; (U,), (N,)
    weight = projection.weight
    centres = projection(
        torch.cat([_centroid(centroids, number).to(weight) for number in classes.tolist()])
    )  # (U, D)
    size = student.shape[1]
    to_centres = squared_euclidean(student, centres) / size  # (N, U)
    own = to_centres.gather(1, cluster[:, None]).squeeze(1)
    spread = own.new_zeros(len(classes)).index_add(0, cluster, own) / len(student)  # (U,)

    itself = torch.eye(len(classes), dtype=torch.bool, device=student.device)
    # A cluster is no neighbour of itself; the 1 keeps 0 / 0 out of the gradient.
    apart = (squared_euclidean(centres) / size).masked_fill(itself, 1.0)
    overlap = ((spread[:, None] + spread[None, :]) / apart).masked_fill(itself, 0.0)
    return overlap.amax(1).mean()


def _centroid(centroids: Mapping[int, Tensor], number: int) -> Tensor:
    try:
        return centroids[number].reshape(1, -1)
    except KeyError:
        raise UserError(
            f"there is no centroid for class {number}; make the centroids from all training data"
        ) from None
