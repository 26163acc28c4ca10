"""The figures computed with plain loops, straight from their definitions."""

import math


def ranked(similarities, skip=()):
    """Reference indices, most similar first, ties by position; -inf is no candidate."""
    kept = [j for j, s in enumerate(similarities) if s != -math.inf and j not in skip]
    return sorted(kept, key=lambda j: (-similarities[j], j))


def relevant_ranks(similarities, truth):
    order = ranked(similarities)
    return [rank for rank, j in enumerate(order, start=1) if truth[j]]


def re_move(similarity, ytrue, k=None, original=False):
    """Re-MOVE's five figures."""
    aps, reciprocal, first_ranks, top1, top10 = [], [], [], 0, 0
    for similarities, truth in zip(similarity, ytrue, strict=True):
        ranks = relevant_ranks(similarities, truth)
        found = [rank for rank in ranks if k is None or rank <= k]
        if ranks:
            aps.append(sum((i + 1) / rank for i, rank in enumerate(found)) / len(ranks))
        if original:
            first_ranks.append(found[0] if found else 1)
            reciprocal.append(1 / first_ranks[-1])
        elif ranks:
            first_ranks.append(ranks[0])
            reciprocal.append(1 / found[0] if found else 0)
        top1 += found[:1] == [1]
        top10 += sum(rank <= 10 for rank in found)
    return {
        "mAP": sum(aps) / len(aps),
        "MRR": sum(reciprocal) / len(reciprocal),
        "MR": sum(first_ranks) / len(first_ranks),
        "Top1": top1,
        "Top10": top10,
    }


def coverhunter(distances, query_labels, ref_labels, topk):
    """CoverHunter's four figures."""
    aps, top10, rank1, hits = [], [], [], []
    for row, label in zip(distances, query_labels, strict=True):
        order = sorted((j for j, d in enumerate(row) if d >= 0), key=lambda j: (row[j], j))
        ranks = [rank for rank, j in enumerate(order, start=1) if ref_labels[j] == label]
        found = [rank for rank in ranks if rank <= topk]
        aps.append(sum((i + 1) / rank for i, rank in enumerate(found)) / len(found) if found else 0)
        top10.append(sum(rank <= 10 for rank in found) / 10)
        rank1.append(ranks[0] if ranks else 0)
        hits.append(ranks[:1] == [1])
    n = len(query_labels)
    return {
        "mean_ap": sum(aps) / n,
        "top10": sum(top10) / n,
        "rank1": sum(rank1) / n,
        "hit_rate": sum(hits) / n,
    }
