"""Shared library of the two systems: sound -> features -> batches -> embeddings -> answers."""
