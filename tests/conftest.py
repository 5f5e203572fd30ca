"""Fixtures that more than one file of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proofs_checks.mutating import one_thread

one_thread()  # before numba starts: the tests run in as many processes as there are cores


@pytest.fixture(scope="session")
def boundlab_data() -> Path:
    """The folder of data sets and third-party nets named by $BOUNDLAB_DATA; without it the test is skipped."""
    folder = os.environ.get("BOUNDLAB_DATA")
    if not folder:
        pytest.skip("$BOUNDLAB_DATA does not name a folder of data sets and nets")
    return Path(folder)
