"""The pytest plugin: tests that check a guarantee by simulation.

A test marked ``guarantee`` states a failure probability, and its fixture of that name judges trials of it::

    @pytest.mark.guarantee(delta=0.05)
    @pytest.mark.parametrize("m", [200, 2000])
    def test_error_is_small(guarantee, m):
        guarantee.check(lambda rng, n: errors(rng, m, n) > 0.1)

Nothing but pytest and the standard library is imported before the first check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from boundlab.pytest_plugin.session import SESSION, GuaranteeSession
from boundlab.pytest_plugin.settings import add_options

if TYPE_CHECKING:
    from boundlab.pytest_plugin.checking import Guarantee

MARKER = (
    "guarantee(delta, over='coins,x', name, theorem, parameters, gamma, max_trials, alpha, batch, trial_seconds, "
    "method): the test checks P(failure) <= delta through the fixture `guarantee`"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options --guarantee-*."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the session's hooks."""
    config.addinivalue_line("markers", MARKER)
    session = GuaranteeSession(config)
    config.stash[SESSION] = session
    config.pluginmanager.register(session, "guarantee-session")


@pytest.fixture
def guarantee(request: pytest.FixtureRequest) -> Guarantee:
    """Checks the guarantee that the test's marker states: ``guarantee.check(trial)`` returns its verdict."""
    from boundlab.pytest_plugin.checking import Guarantee

    return Guarantee(request.node, request.config.stash[SESSION])
