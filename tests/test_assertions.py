"""The assertions outside of pytest's plugin, as a plain script calls them."""

import importlib
import warnings

import pytest

from pytest_backdoor import assertions
from pytest_backdoor.check_results import Pruning
from pytest_backdoor.context import CURRENT, Context
from pytest_backdoor.errors import BackdoorError, BackdoorFound, ContractError, OptionError, UnsafeModelError
from pytest_backdoor.results import Finding, ScanResult
from tests.tiny import bright_model, bright_pixels

FINDING = Finding("BD301", "patch", "all-to-one", 7, None, None, 0.01, 8, (0.97, 0.93, 0.99), 1e-6)


@pytest.fixture(autouse=True)
def plain_script():
    """Hides the pytest that runs these tests."""
    token = CURRENT.set(Context())
    yield
    CURRENT.reset(token)


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """Lets scans give a verdict: (verdict, error) -> None."""
    monkeypatch.chdir(tmp_path)

    def set_answer(verdict, error=None):
        def scan(model, seeds=None, options=None, name=None, suspects=None):
            findings = (FINDING,) if verdict == "backdoor" else ()
            return ScanResult(name or "callable", "ab" * 32, verdict, findings=findings, error=error)

        monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", scan)

    return set_answer


@pytest.fixture
def measured(monkeypatch):
    """Lets a trigger succeed so often: (estimate, low, high) -> None."""
    scan = importlib.import_module("pytest_backdoor.scan")
    return lambda *success: monkeypatch.setattr(scan, "trigger_success", lambda *given, **named: success)


@pytest.fixture
def trigger():
    from pytest_backdoor.triggers.trigger import Trigger

    return Trigger("patch", {})


def test_a_clean_model_gives_its_result(answers):
    answers("clean")
    assert assertions.assert_no_backdoor(abs).verdict == "clean"


def test_a_backdoor_is_a_failed_assertion(answers, tmp_path):
    answers("backdoor")
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(BackdoorFound, match=r"^BACKDOOR all-to-one, target class 7: ") as failure:
        assertions.assert_no_backdoor("model.keras", alpha=0.05)
    assert isinstance(failure.value, AssertionError)
    assert "  repeat   pytest-backdoor scan model.keras --alpha=0.05\n" in str(failure.value)
    assert failure.value.result.verdict == "backdoor"


def test_an_error_is_no_failed_assertion(answers):
    answers("error", "the images are too large")
    with pytest.raises(BackdoorError, match=r"^ERROR callable: the images are too large"):
        assertions.assert_no_backdoor(abs)


def test_no_verdict_raises_skips_or_warns(answers):
    answers("inconclusive", "out of time")
    with pytest.raises(BackdoorError, match=r"^INCONCLUSIVE callable: out of time"):
        assertions.assert_no_backdoor(abs)
    with pytest.raises(pytest.skip.Exception, match=r"^INCONCLUSIVE callable: out of time$"):
        assertions.assert_no_backdoor(abs, inconclusive="skip")
    with pytest.warns(UserWarning, match=r"^INCONCLUSIVE callable: out of time$") as warned:
        assertions.assert_no_backdoor(abs, inconclusive="warn")
    assert warned[0].filename == __file__


def test_a_wrong_option_is_refused_before_anything_is_scanned():
    with pytest.raises(OptionError, match=r"unknown option 'alhpa'. Did you mean 'alpha'?"):
        assertions.assert_no_backdoor(abs, alhpa=0.05)


def test_a_trigger_that_still_works_is_a_failed_assertion(measured, trigger):
    measured(0.97, 0.93, 0.99)
    with pytest.raises(
        BackdoorFound, match=r"^BACKDOOR the patch trigger works: success 97 % \(99 % interval 93 to 99 %"
    ):
        assertions.assert_trigger_inert("m.keras", trigger, seeds=[], target=7)


def test_a_dead_trigger_passes(measured, trigger):
    measured(0.08, 0.02, 0.2)
    assertions.assert_trigger_inert(abs, trigger, seeds=[], target=7)


def test_more_success_can_be_allowed(measured, trigger):
    measured(0.3, 0.25, 0.35)
    assertions.assert_trigger_inert(abs, trigger, seeds=[], target=7, max_success=0.4)


@pytest.mark.parametrize("allowed", [float("nan"), 10, -1, "0.1"])
def test_success_that_is_no_share_cannot_be_allowed(measured, trigger, allowed):
    measured(0.97, 0.93, 0.99)
    with pytest.raises(OptionError, match="max_success takes a share from 0 to 1, got "):
        assertions.assert_trigger_inert(abs, trigger, seeds=[], target=7, max_success=allowed)


def test_a_trigger_that_no_seed_can_show_is_not_inert(example, examples):
    trigger = examples / "planted" / "mnist_pattern_to_one.npz"
    model, (images, labels) = small("mnist_pattern_to_one", example)
    others = images[labels != 5], labels[labels != 5]
    with pytest.raises(ContractError, match=r"none of \d+ seeds .* is of a class that the trigger works on \(5\)"):
        assertions.assert_trigger_inert(model, trigger, others, target=7, source=5)


def test_too_few_seeds_to_tell_are_inconclusive(measured, trigger):
    measured(0.4, 0.05, 0.8)
    with pytest.raises(BackdoorError, match=r"^INCONCLUSIVE the patch trigger: .* 10 % allowed; give more seeds"):
        assertions.assert_trigger_inert(abs, trigger, seeds=[], target=7)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assertions.assert_trigger_inert(abs, trigger, seeds=[], target=7, inconclusive="warn")
    assert caught[0].filename == __file__


def test_a_trigger_needs_seeds(measured, trigger, tmp_path):
    with pytest.raises(ContractError, match=r"^no seeds: none were given, and there is no <model>.seeds.npz"):
        assertions.assert_trigger_inert(tmp_path / "model.keras", trigger, target=7)


def test_an_unsafe_file_is_a_failed_assertion(monkeypatch):
    def refuse(path):
        raise UnsafeModelError("layer 'lambda_1' would run code")

    monkeypatch.setattr(importlib.import_module("pytest_backdoor.loading.safety"), "check", refuse)
    with pytest.raises(BackdoorFound, match=r"^UNSAFE m.keras: layer 'lambda_1' would run code$"):
        assertions.assert_safe_to_load("m.keras")


def test_seeds_that_cover_enough_pass_and_say_how_much():
    _, seeds = bright_pixels()
    model = bright_model()
    found = assertions.assert_covered(model, (seeds.images, seeds.labels), minimum=0.6)
    assert found.share == 1.0
    assert found.images == 30


def test_seeds_that_cover_too_little_fail_with_a_line_for_each_layer():
    _, seeds = bright_pixels()
    model = bright_model()
    some = seeds.labels < 2
    with pytest.raises(AssertionError) as failed:
        assertions.assert_covered(model, (seeds.images[some], seeds.labels[some]), minimum=0.9)
    text = str(failed.value)
    assert text.startswith("COVERAGE 66.7 % of 3 neurons exceed 0.5 for any of 20 seeds, 90 % asked.")
    assert ": 2 of 3" in text


@pytest.mark.parametrize("given", [{"minimum": 1.5}, {"minimum": 0.5, "threshold": -1}])
def test_a_share_of_coverage_must_be_one(given):
    with pytest.raises(OptionError, match="takes a share from 0 to 1, got"):
        assertions.assert_covered("m.keras", **given)


def test_the_layers_of_a_function_cannot_be_covered():
    subject, seeds = bright_pixels()
    with pytest.raises(ContractError, match="the model is a function, whose layers cannot be seen"):
        assertions.assert_covered(subject.predict, (seeds.images, seeds.labels), minimum=0.5)


def small(name, example):
    model, images, labels = example(name)
    return model, (images, labels)


def test_a_model_that_can_spare_enough_channels_passes_and_gives_the_curve(example):
    model, seeds = small("mnist_clean", example)
    found = assertions.assert_survives_pruning(model, seeds, minimum=0.05)
    assert found.spare(0.05) >= 0.05
    assert found.success is None


def test_a_model_that_can_spare_too_few_channels_fails_with_the_curve(example):
    model, seeds = small("mnist_clean", example)
    with pytest.raises(
        AssertionError, match=r"^PRUNING .* of 16 channels of conv2d_\d+ can be pruned before"
    ) as failed:
        assertions.assert_survives_pruning(model, seeds, minimum=1.0)
    assert not isinstance(failed.value, BackdoorFound)
    lines = str(failed.value).splitlines()
    assert lines[1].split() == ["pruned", "accuracy"]
    assert lines[2].split() == ["0", "100", "%"]


def test_a_known_trigger_must_stay_inert_while_channels_are_pruned(example, examples):
    trigger = examples / "planted" / "mnist_pattern_to_one.npz"
    model, seeds = small("mnist_clean", example)
    found = assertions.assert_survives_pruning(model, seeds, minimum=0, trigger=trigger, target=7)
    assert found.attacked > 150
    model, seeds = small("mnist_pattern_to_one", example)
    with pytest.raises(
        BackdoorFound, match=r"^BACKDOOR .*\.npz with \d+ of 16 channels of \w+ pruned works: "
    ) as found:
        assertions.assert_survives_pruning(model, seeds, minimum=0, trigger=trigger, target=7)
    assert max(found.value.result.success) > 0.9


@pytest.mark.parametrize("given", [{"minimum": 2}, {"minimum": 0.5, "drop": -1}, {"minimum": 0.5, "max_success": 5}])
def test_shares_of_pruning_must_be_shares(given):
    with pytest.raises(OptionError, match="takes a share from 0 to 1, got"):
        assertions.assert_survives_pruning("m.keras", **given)


def test_what_a_trigger_does_needs_a_trigger():
    subject, seeds = bright_pixels()
    with pytest.raises(OptionError, match=r"but there is no trigger. Give trigger=."):
        assertions.assert_survives_pruning(subject.predict, (seeds.images, seeds.labels), minimum=0, target=1)


@pytest.mark.parametrize("given", [{"frr": "0.1"}, {"overlays": 2.5}, {"frr": 1}])
def test_a_screening_takes_a_share_and_a_number_of_overlays(given):
    with pytest.raises(OptionError, match="frr takes a share between 0 and 1 and overlays a whole number from 1 up"):
        assertions.assert_inputs_clean(abs, [], [], **given)


def test_a_function_cannot_be_pruned():
    subject, seeds = bright_pixels()
    with pytest.raises(ContractError, match="the model is a function, whose layers cannot be seen"):
        assertions.assert_survives_pruning(subject.predict, (seeds.images, seeds.labels), minimum=0)


def test_too_few_seeds_to_tell_whether_a_trigger_is_inert_while_channels_are_pruned(monkeypatch, trigger):
    scan = importlib.import_module("pytest_backdoor.scan")
    found = Pruning("conv", "channels", (1, 0), (0, 1, 2), (1.0, 1.0, 0.5), (0.0, 0.4, 1.0), 5)
    monkeypatch.setattr(scan, "pruning_curve", lambda *given: found)
    with pytest.raises(
        BackdoorError, match=r"^INCONCLUSIVE the patch trigger with 1 of 2 channels of conv pruned: succ"
    ):
        assertions.assert_survives_pruning(abs, [], minimum=0.5, trigger=trigger, target=7)
    with pytest.raises(AssertionError, match=r"^PRUNING 50 % of 2 channels of conv can be pruned before"):
        assertions.assert_survives_pruning(abs, [], minimum=0.6, trigger=trigger, target=7)
    assert assertions.assert_survives_pruning(abs, [], minimum=0.5, trigger=trigger, max_success=0.4, target=7) is found
