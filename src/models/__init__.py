"""Batches -> embeddings: the networks."""
