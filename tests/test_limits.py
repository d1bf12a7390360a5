"""The limits have reasons, and fit together."""

import ast
import dataclasses
from pathlib import Path

from crust import limits
from crust.config import Config

NAMES = [name for name in vars(limits) if name.isupper()]
UNITS = {"KIB", "MIB"}

OFF = {"MAX_BYTES_PER_SECOND", "MAX_MESSAGES_PER_SECOND", "MAX_RECORDS_PER_SECOND"}
"""Those that are 0 because there is no such limit unless it is set."""


def test_every_limit_says_why_it_is_that_number() -> None:
    body = ast.parse(Path(limits.__file__).read_text("utf-8")).body
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert documented or name in UNITS, f"{name}: write under it what it is for and why it is that number"


def test_every_limit_is_a_positive_number() -> None:
    assert NAMES
    for name in NAMES:
        value = getattr(limits, name)
        assert isinstance(value, int | float), name
        assert value > 0 or name in OFF, name


def test_the_defaults_of_the_configuration_are_these() -> None:
    settings = {field.name: field.default for field in dataclasses.fields(Config)}
    shared = [name for name in NAMES if name.lower() in settings]
    assert len(shared) > 10
    for name in shared:
        assert settings[name.lower()] == getattr(limits, name)


def test_they_fit_together() -> None:
    assert limits.MAX_MESSAGE_SIZE <= limits.MESSAGE_SIZE_CEILING < 2**32
    assert limits.MAX_MESSAGE_SIZE <= limits.MAX_WAITING_BYTES
    assert limits.MAX_CONNECTIONS_PER_ADDRESS <= limits.MAX_CONNECTIONS
    assert limits.MAX_HALF_OPEN_PER_ADDRESS <= limits.MAX_HALF_OPEN
    assert limits.DIAL_STAGGER < limits.DIAL_TIMEOUT
    assert limits.KEEPALIVE_INTERVAL * 3 <= limits.DEAD_AFTER
    assert limits.BOOTSTRAP_BACKOFF_MIN <= limits.BOOTSTRAP_BACKOFF_MAX
    assert limits.LISTEN_BACKLOG >= 100
