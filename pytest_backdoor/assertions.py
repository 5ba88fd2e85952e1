"""Assertions about models: each runs, then raises BackdoorFound with a report; they work in and outside of pytest."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_backdoor import options as option
from pytest_backdoor import rules
from pytest_backdoor.check_results import Pruning, Screening
from pytest_backdoor.context import CURRENT
from pytest_backdoor.dataset_results import DatasetResult
from pytest_backdoor.errors import (
    BackdoorError,
    BackdoorFound,
    ContractError,
    OptionError,
    UnreadableModelError,
    UnsafeModelError,
    plain,
)
from pytest_backdoor.options import Options
from pytest_backdoor.origins import origin
from pytest_backdoor.report import pruning, save_inputs, save_triggers, screened, words
from pytest_backdoor.report.failure import failure_text
from pytest_backdoor.report.training_data import suspects_text
from pytest_backdoor.results import FuzzRun, ScanResult

if TYPE_CHECKING:
    from pytest_backdoor.search.coverage import Coverage
    from pytest_backdoor.triggers.trigger import Trigger

Warn = Callable[[Warning], None]


@plain
def assert_no_backdoor(model: Any, seeds: Any = None, *, suspects: Any = None, **options: Any) -> ScanResult:
    """The result of scanning the model, a path or a Keras model or a callable, when it is clean.

    Suspects are suspicious images, a path or an array in the scale of the seeds, whose regions are tried too. Raises
    BackdoorFound for a backdoor, BackdoorError when there is no verdict; with inconclusive="skip" the test is skipped,
    with "warn" it goes on with a result that is not clean.
    """
    __tracebackhide__ = True
    named = {"suspects": suspects} if isinstance(suspects, str | Path) else {}
    chosen = options_now(options | named)
    result = examine(model, seeds, chosen, suspects=None if named else suspects)
    settle(result, chosen)
    return result


@plain
def assert_trigger_inert(
    model: Any,
    trigger: Trigger | Path | str,
    seeds: Any = None,
    *,
    target: int | None = None,
    source: int | None = None,
    mapping: dict[int, int] | None = None,
    max_success: float = 0.1,
    **options: Any,
) -> None:
    """Checks that a known trigger succeeds on at most ``max_success`` of the seeds.

    Raises BackdoorFound when even the lower bound of its success is above that. When only the estimate is, the seeds
    are too few to tell, which counts as inconclusive.
    """
    __tracebackhide__ = True
    from pytest_backdoor.scan import trigger_success

    chosen = options_now(options)
    _check_shares(max_success=max_success)
    known, name = _known(trigger)
    success = trigger_success(
        model, known, seeds_for(model, seeds, chosen), target=target, source=source, mapping=mapping, options=chosen
    )
    doubt = _alive(name, success, max_success, _of(model))
    if doubt is not None:
        _inconclusive(doubt, chosen)


@plain
def assert_inputs_clean(
    model: Any,
    images: Any,
    seeds: Any = None,
    *,
    frr: float | None = None,
    overlays: int | None = None,
    **options: Any,
) -> Screening:
    """The entropies of suspicious images, blended with seeds, when no more are rejected than of clean images (STRIP).

    Images are an array (n, height, width, channels) or a list of images in the scale of the seeds, an ``.npz``, or a
    folder of images. frr is the share of clean images that is rejected (0.01, or the setting
    ``strip.false_rejections``), and each image is blended with so many ``overlays`` in turn (100, or
    ``strip.overlays``). Raises BackdoorFound when so many rejected images have a probability of at most alpha among
    clean ones; ContractError when there are too few images and seeds to tell. Triggers that lead each class to another,
    or work on one class only, go unseen.
    """
    __tracebackhide__ = True
    from pytest_backdoor import profiles
    from pytest_backdoor.screening import screen

    chosen = options_now(options)
    usual = profiles.settings(chosen).strip
    frr, overlays = usual.false_rejections if frr is None else frr, usual.overlays if overlays is None else overlays
    if not isinstance(frr, Real) or not isinstance(overlays, Integral) or not 0 < frr < 1 or overlays < 1:
        raise OptionError(
            f"frr takes a share between 0 and 1 and overlays a whole number from 1 up, got {frr!r}, {overlays!r}."
        )
    settings = dataclasses.replace(usual, overlays=int(overlays), false_rejections=frr)
    found = screen(model, images, seeds_for(model, seeds, chosen), settings, chosen)
    if found.p_value <= chosen.alpha:
        raise BackdoorFound(screened.text(found, chosen.alpha) + _of(model), found)
    return found


def assert_safe_to_load(path: Path | str) -> None:
    """Checks, without loading it, that a model file is whole and runs no code of its own; raises BackdoorFound."""
    __tracebackhide__ = True
    from pytest_backdoor.loading.probe import check

    try:
        check(Path(path))
    except (UnsafeModelError, UnreadableModelError) as problem:
        said = str(problem).removeprefix(f"{path}: ")
        raise BackdoorFound(f"UNSAFE {words.visible(str(path))}: {said}") from None


@plain
def assert_covered(
    model: Any, seeds: Any = None, *, minimum: float, threshold: float = 0.5, **options: Any
) -> Coverage:
    """The neuron coverage of the seeds, a share from 0 to 1, when it is at least ``minimum``; else AssertionError.

    A neuron is covered by an image that makes its activity exceed ``threshold`` (see search.coverage). Raises
    ContractError for a model whose layers cannot be seen.
    """
    __tracebackhide__ = True
    from pytest_backdoor.scan import neuron_coverage

    chosen = options_now(options)
    _check_shares(minimum=minimum, threshold=threshold)
    found = neuron_coverage(model, seeds_for(model, seeds, chosen), threshold, chosen)
    if found.share < minimum:
        raise AssertionError(
            f"COVERAGE {words.percent(found.share)} of {len(found.times)} neurons exceed {threshold:g} for any of "
            f"{found.images} seeds, {words.percent(minimum)} asked. Add seeds that differ from these, or lower the "
            f"threshold.{_of(model)}\n{found.table}"
        )
    return found


@plain
def assert_dataset_clean(model: Any, x: Any, y: Any, **options: Any) -> DatasetResult:
    """What the model makes of its training data, images x with the labels y, when no class lies in two groups.

    Raises BackdoorFound with the suspicious classes and the numbers of their images, BackdoorError for data or a model
    that cannot be checked.
    """
    __tracebackhide__ = True
    from pytest_backdoor.training_data import check_dataset

    chosen = options_now(options)
    result = check_dataset(model, x, y, chosen)
    if result.suspicious:
        raise BackdoorFound(suspects_text(result, chosen.alpha) + _of(model), result)
    return result


@plain
def assert_survives_pruning(
    model: Any,
    seeds: Any = None,
    *,
    minimum: float,
    drop: float = 0.05,
    trigger: Trigger | Path | str | None = None,
    target: int | None = None,
    source: int | None = None,
    mapping: dict[int, int] | None = None,
    max_success: float = 0.1,
    **options: Any,
) -> Pruning:
    """The Fine-Pruning curve, when a share ``minimum`` of the neurons that clean seeds use least can be pruned.

    They are the last convolution's channels, or the last hidden layer's units. Accuracy may fall by ``drop`` of the
    seeds that the model classifies right. Raises AssertionError where it falls by more. A known trigger must be inert
    at every step before, as for assert_trigger_inert. Raises ContractError for a model without such a layer.
    """
    __tracebackhide__ = True
    from pytest_backdoor.scan import pruning_curve

    chosen = options_now(options)
    _check_shares(minimum=minimum, drop=drop, max_success=max_success)
    known, name = (None, "") if trigger is None else _known(trigger)
    found = pruning_curve(model, seeds_for(model, seeds, chosen), known, target, source, mapping, chosen)
    about = f"{_of(model)}\n{pruning.table(found)}"
    doubt = None if known is None else _alive_while_pruned(name, found, drop, max_success, about)
    if found.spare(drop) < minimum:
        raise AssertionError(
            f"PRUNING {words.percent(found.spare(drop))} of {len(found.order)} {found.part} of {found.layer} can be "
            f"pruned before accuracy falls by more than {words.percent(drop)}, {words.percent(minimum)} asked. Lower "
            f"minimum, allow a larger drop, or give more seeds.{about}"
        )
    if doubt is not None:
        _inconclusive(doubt, chosen)
    return found


def _known(trigger: Trigger | Path | str) -> tuple[Trigger, str]:
    """The trigger, loaded if it is a file, and what to call it."""
    from pytest_backdoor.triggers.trigger import Trigger

    if isinstance(trigger, Trigger):
        return trigger, f"the {trigger.family} trigger"
    return Trigger.load(trigger), str(trigger)


def _alive(
    name: str, success: tuple[float, float, float], max_success: float, about: str, result: Pruning | None = None
) -> str | None:
    """Why it cannot be told whether a trigger is inert, None where it is; raises BackdoorFound where it is not."""
    __tracebackhide__ = True
    estimate, low, high = success
    measured = f"{words.percent(estimate)} (99 % interval {100 * low:.3g} to {words.percent(high)})"
    allowed = f"{words.percent(max_success)} allowed"
    if low > max_success:
        raise BackdoorFound(f"BACKDOOR {name} works: success {measured}, {allowed}{about}", result)
    if estimate > max_success:
        return f"INCONCLUSIVE {name}: success {measured}, {allowed}; give more seeds{about}"
    return None


def _alive_while_pruned(name: str, found: Pruning, drop: float, max_success: float, about: str) -> str | None:
    """The same at the step where the trigger succeeds most, of those before accuracy falls by more than ``drop``."""
    __tracebackhide__ = True
    from pytest_backdoor.stats import share

    assert found.success is not None  # the curve was made with the trigger
    step = max(range(found.last_step(drop) + 1), key=found.success.__getitem__)
    evidence = share("success", round(found.success[step] * found.attacked), found.attacked)
    low, high = evidence.interval or (0.0, 1.0)
    pruned = f"{name} with {found.pruned[step]} of {len(found.order)} {found.part} of {found.layer} pruned"
    return _alive(pruned, (evidence.value, low, high), max_success, about, found)


def _check_shares(**given: float) -> None:
    """Raises OptionError for what is no share."""
    for name, share in given.items():
        if not isinstance(share, Real) or not 0 <= share <= 1:
            raise OptionError(f"{name} takes a share from 0 to 1, got {share!r}.")


def options_now(arguments: dict[str, Any]) -> Options:
    """The options of the running test, or the defaults outside of one, under these arguments."""
    context = CURRENT.get()
    under = context.options if context.start is None else option.anchored(context.options, context.start)
    return option.with_arguments(under, arguments)


def seeds_for(model: Any, seeds: Any, options: Options) -> Any:
    """The given seeds, else those of the options, else the file beside the model; raises ContractError."""
    found = _seeds(model, seeds, options)
    if found is None:
        raise ContractError(
            "no seeds: none were given, and there is no <model>.seeds.npz or seeds.npz beside the model."
            f" Give clean images as seeds=, --backdoor-seeds or backdoor_seeds.{_of(model)}"
        )
    return found


def examine(model: Any, seeds: Any, options: Options, name: str | None = None, suspects: Any = None) -> ScanResult:
    """The result of a scan, its triggers saved, kept for the reports of the run."""
    from pytest_backdoor.scan import scan

    path = origin(model)
    shown = name or (None if path is None else words.path_from(CURRENT.get().start, path))
    given = _seeds(model, seeds, options)
    result = scan(model, given, options=options, name=shown, suspects=suspects)
    result = save_triggers(dataclasses.replace(result, options=option.to_dict(options)), options.folder)
    if options.selftest and result.verdict == "clean":
        result = _with_power(result, model, given, options)
    if options.save_inputs is not None and result.verdict != "error":
        result = _fuzzed(result, model, given, options, options.save_inputs)
    CURRENT.get().record(result)
    return result


def settle(result: ScanResult, options: Options, warn: Warn | None = None) -> None:
    """Does nothing for a clean model, raises for a backdoor or an error, and follows the option when inconclusive.

    A warning names the line that called the assertion that called this, unless ``warn`` knows better.
    """
    __tracebackhide__ = True
    if result.verdict == "clean":
        return
    text = failure_text(result, options.alpha, _command(result, options))
    if result.verdict == "backdoor":
        raise BackdoorFound(text, result)
    if result.verdict == "error":
        raise BackdoorError(text)
    _inconclusive(text, options, warn or functools.partial(warnings.warn, stacklevel=5))


def _inconclusive(text: str, options: Options, warn: Warn | None = None) -> None:
    """Fails, skips or warns, as the option says; a warning names the line that called the caller, without ``warn``."""
    __tracebackhide__ = True
    if options.inconclusive == "fail":
        raise BackdoorError(text)
    first = text.partition("\n")[0]
    if options.inconclusive == "warn":
        (warn or functools.partial(warnings.warn, stacklevel=4))(UserWarning(first))
        return
    import pytest

    pytest.skip(first)


def _with_power(result: ScanResult, model: Any, seeds: Any, options: Options) -> ScanResult:
    """The clean result with what the search finds of backdoors planted in copies of the model."""
    from pytest_backdoor.selftest import selftest

    test = selftest(model, seeds, options, name=result.path)
    seconds = result.seconds + test.seconds
    return dataclasses.replace(result, power=test.smallest, self_test=test, seconds=seconds)


def _fuzzed(result: ScanResult, model: Any, seeds: Any, options: Options, folder: Path) -> ScanResult:
    """The result with what a run of fuzzing made of the seeds, under the rule of what was found, its inputs saved."""
    from pytest_backdoor.fuzzed import fuzz_model

    found = result.findings[:1]
    rule = rules.goal(found[0].target, found[0].source, found[0].mapping) if found else None
    try:
        run = save_inputs(fuzz_model(model, seeds, options, rule, name=result.path), folder)
    except OptionError as problem:  # a target that this model does not know, and its verdict stands
        run = FuzzRun(result.path, result.sha256, {}, error=str(problem))
    return dataclasses.replace(result, fuzzing=run, seconds=result.seconds + run.seconds)


def _command(result: ScanResult, options: Options) -> str | None:
    """What repeats the scan: the running test, else the console script when there is a file to give it."""
    command = CURRENT.get().command
    if command is not None or not Path(result.path).is_file():
        return command
    return f"pytest-backdoor scan {shlex.join([result.path, *option.flags(options, '--')])}"


def _seeds(model: Any, seeds: Any, options: Options) -> Any:
    from pytest_backdoor.seeds import seeds_beside

    chosen = options.seeds if seeds is None else seeds
    path = origin(model)
    return chosen if chosen is not None or path is None else seeds_beside(path)


def _of(model: Any) -> str:
    path = origin(model)
    return "" if path is None else f"\n  model    {words.visible(words.path_from(CURRENT.get().start, path))}"
