"""Embeddings and labels -> a scalar to minimise."""

from src.losses.center import CenterLoss
from src.losses.contrastive import SupConLoss
from src.losses.distillation import kd_cluster_loss, kd_distance_loss
from src.losses.focal import FocalLoss
from src.losses.group import group_loss
from src.losses.imitation import imitation_loss, relation_loss
from src.losses.proxy import normalized_softmax_loss, proxy_nca_loss
from src.losses.triplet import HardTripletLoss, triplet_loss

__all__ = [
    "CenterLoss",
    "FocalLoss",
    "HardTripletLoss",
    "SupConLoss",
    "group_loss",
    "imitation_loss",
    "kd_cluster_loss",
    "kd_distance_loss",
    "normalized_softmax_loss",
    "proxy_nca_loss",
    "relation_loss",
    "triplet_loss",
]
