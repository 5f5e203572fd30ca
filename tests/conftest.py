"""Fixtures that more than one file of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from proofs_checks.mutating import one_thread

one_thread()  # before numba starts: the tests run in as many processes as there are cores

settings.register_profile("fixed", derandomize=True)  # the same code gives the same verdict, run after run
settings.register_profile("search")  # make evidence: other examples each night
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def boundlab_data() -> Path:
    """The folder of data sets and third-party nets named by $BOUNDLAB_DATA; without it the test is skipped."""
    folder = os.environ.get("BOUNDLAB_DATA")
    if not folder:
        pytest.skip("$BOUNDLAB_DATA does not name a folder of data sets and nets")
    return Path(folder)
