"""The public names: they exist, and importing the package costs nothing."""

import subprocess
import sys

import pytest

import pytest_backdoor
from pytest_backdoor.errors import BackdoorError, BudgetSpentError

HEAVY = ("numpy", "keras", "tensorflow", "jax", "torch", "rich", "scipy", "h5py")


def test_every_public_name_exists():
    for name in pytest_backdoor.__all__:
        assert getattr(pytest_backdoor, name).__name__ == name


def test_public_names_are_listed_and_others_are_not_there():
    assert set(pytest_backdoor.__all__) <= set(dir(pytest_backdoor))
    with pytest.raises(AttributeError, match="has no attribute 'assert_no_frontdoor'"):
        _ = pytest_backdoor.assert_no_frontdoor


def test_every_error_that_a_caller_can_meet_is_public():
    met = set(BackdoorError.__subclasses__()) - {BudgetSpentError}  # which ends a scan as inconclusive
    assert {kind.__name__ for kind in met} < set(pytest_backdoor.__all__)


def test_the_plugin_and_the_package_import_nothing_heavy():
    code = f"import pytest_backdoor.plugin, sys; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
