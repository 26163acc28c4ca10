"""Pairwise distances and similarities of embeddings, for small sets held as one matrix.

The functions live beside the models because the losses differentiate them; retrieval ranks by
them. For more than a few thousand recordings use :func:`src.retrieval.ranking.rank_relevant`,
which never builds the matrix.
"""

from src.models.pairwise import cosine, pearson, squared_euclidean

__all__ = ["cosine", "pearson", "squared_euclidean"]
