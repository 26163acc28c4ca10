"""Optimisers, schedules, checkpoints and the training loops."""
