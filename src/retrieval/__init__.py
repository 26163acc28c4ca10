"""Embeddings -> answers: distances, rankings, figures, reports."""
