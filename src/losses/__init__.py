"""Embeddings and labels -> a scalar to minimise."""
