"""Tests that need a program skip without it, except where everything must be tested."""

import os
import shutil

import pytest

needs_sox = pytest.mark.skipif(
    shutil.which("sox") is None and not os.environ.get("CI"), reason="the SoX program is missing"
)
