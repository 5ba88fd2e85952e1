"""Plants backdoors in data: for example models, benchmarks and tests."""

from pytest_backdoor.attacks.patch import pattern, pixel
from pytest_backdoor.attacks.poison import all_to_all, all_to_one, poison, source_specific, success

__all__ = ["all_to_all", "all_to_one", "pattern", "pixel", "poison", "source_specific", "success"]
