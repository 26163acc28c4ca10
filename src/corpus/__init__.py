"""Symbolic tunes -> arranged, rendered versions; used only to make training data."""
