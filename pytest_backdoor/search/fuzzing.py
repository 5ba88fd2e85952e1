"""Fuzzing: seeds are pushed along gradients until the model changes its mind, all seeds in one batch.

DLFuzz's loop (Guo et al., arXiv:1808.09413) with DeepXplore's constraints and differential objective (Pei et al.,
arXiv:1705.06640) and that of a target label. It departs from the originals: pixels stay in the value range, findings
are bounded as well as what is kept, and every seed has a coverage table, a queue and a random stream of its own, so
that what becomes of it depends neither on the batch nor on the order of the seeds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from keras import ops
from scipy.special import log_softmax

from pytest_backdoor.errors import ContractError
from pytest_backdoor.search import coverage, objectives
from pytest_backdoor.search.constraints import CONSTRAINTS, squares
from pytest_backdoor.search.coverage import Coverage, Moment, Neurons
from pytest_backdoor.search.pushing import Engine, Plan, Seen, engine
from pytest_backdoor.subject import VALUE, Subject


@dataclass(frozen=True, slots=True)
class Settings:
    """How seeds are pushed; the defaults are DLFuzz's on MNIST."""

    iterations: int = 5  # of each image of the queue
    step: float = 0.02  # of the value range, times a gradient of root mean square 1
    competitors: int = 4  # next likeliest classes, which are pushed up
    predict_weight: float = 0.5  # of each of them
    neuron_weight: float = 0.5
    neurons: int = 10  # that are pushed with each image
    strategies: tuple[str, ...] = ("rarely",)
    threshold: float = coverage.THRESHOLD
    gain: float = 0.01  # of coverage, for an image to be kept; half of it for a queue's second, a third for the third
    near: float = 0.02  # L2 distance from the seed, as a share of its norm, up to which an image is kept
    reach: float = 0.5  # the same, that no image exceeds
    queue: int = 5  # images of a seed that are pushed, the seed among them
    constraint: str = "none"
    box: int = 10  # side of the window, pixels
    target: int | None = None  # the class to reach; None: any but the present one
    deviation: float = 1.0  # of several models, how much the one that is to deviate counts
    batch: int = 512  # seeds that are pushed together, where memory allows


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What became of the seeds: one entry for each mutated image, by seed, image of its queue and iteration."""

    seed: np.ndarray  # (m,) index of the seed
    turn: np.ndarray  # (m,) which image of the seed's queue
    iteration: np.ndarray  # (m,) from 1
    before: np.ndarray  # (m,) class of the seed
    after: np.ndarray  # (m,) class of the mutated image
    adversarial: np.ndarray  # (m,) whether the model, or one of several, changed its mind
    objective: np.ndarray  # (m,)
    target_loss: np.ndarray  # (m,) cross-entropy to the target; without one, to the likeliest other class
    original_loss: np.ndarray  # (m,) cross-entropy to the class of the seed
    covered: np.ndarray  # (m,) share of neurons that the seeds and this seed's images covered so far
    l2: np.ndarray  # (m,) distance from the seed
    linf: np.ndarray  # (m,)
    left: np.ndarray  # (m,) L2 distance to where the path should end; to the seed where nothing is known of that
    images: np.ndarray  # (found, height, width, channels) the adversarial ones, in the same order
    seeds: np.ndarray  # (n, height, width, channels)
    coverage: tuple[Coverage, Coverage]  # before and after
    seconds: float

    @property
    def found(self) -> np.ndarray:
        """Indices of the adversarial entries."""
        return np.flatnonzero(self.adversarial)


def fuzz(
    subject: Subject,
    images: np.ndarray,
    settings: Settings,
    rng: np.random.Generator,
    others: Sequence[Subject] = (),
    suspects: np.ndarray | None = None,
    ends: np.ndarray | None = None,
) -> Run:
    """Pushes every seed image ``(n, height, width, channels)``, 0 to 1, and says what became of it.

    others are models of the same task: the objective is then differential, and an input is adversarial where they
    disagree. suspects are images that may carry a trigger, for the strategy "difference"; without them they are what a
    first run with random neurons finds. ends are images that the paths of the seeds are measured against. Raises
    ContractError where every seed is in the target class already.
    """
    begun, base = time.perf_counter(), int(rng.integers(2**62))
    subjects = (subject, *others)
    if "difference" in settings.strategies and suspects is None:
        suspects = fuzz(subject, images, replace(settings, strategies=("random",)), rng, others).images
    crew = Crew.of(subjects, settings, images, suspects)
    size = max(1, min(settings.batch, min(together(each, settings.iterations) for each in subjects) // len(subjects)))
    parts = [slice(start, start + size) for start in range(0, len(images), size)]
    ends = images if ends is None else ends
    first = [crew.look(images[part], ends[part]) for part in parts]
    times = np.sum([np.sum(now.activity > settings.threshold, 0) for now in first], 0)
    walks = [
        Walk.begin(crew, images[part], ends[part], now, times, base) for part, now in zip(parts, first, strict=True)
    ]
    for walk in walks:
        walk.go()
    if not any(walk.tables for walk in walks):
        raise ContractError(f"every seed is of class {settings.target} already. Choose another target.")
    table, found = joined(walks, [part.start for part in parts])
    after = times + np.sum([(walk.times - times).sum(0) for walk in walks], 0)
    counts = (Coverage(crew.layers, times, len(images)), Coverage(crew.layers, after, len(images) + len(table["seed"])))
    return Run(**table, images=found, seeds=images, coverage=counts, seconds=time.perf_counter() - begun)


def together(subject: Subject, iterations: int) -> int:
    """How many seeds memory allows, with the images of all iterations and a slope for each output."""
    kept = 2 * iterations * int(np.prod(subject.image_shape)) + subject.outputs
    return subject.memory // (subject.footprint + VALUE * kept)


@dataclass(frozen=True, slots=True, eq=False)
class Crew:
    """What all batches of a run share."""

    engine: Engine
    settings: Settings
    neurons: Neurons
    layers: tuple[tuple[str, int], ...]
    models: int
    classes: int

    @classmethod
    def of(
        cls, subjects: Sequence[Subject], settings: Settings, images: np.ndarray, suspects: np.ndarray | None
    ) -> Crew:
        """The engine and the neurons of the models."""
        neurons = Neurons.of(subjects, coverage.difference(subjects, suspects, images), settings.threshold)
        return cls(
            engine(subjects, settings.constraint),
            settings,
            neurons,
            coverage.layers(subjects),
            len(subjects),
            subjects[0].num_classes,
        )

    def look(self, images: np.ndarray, ends: np.ndarray) -> Seen:
        """What the models make of the seeds themselves."""
        nothing = np.zeros((self.models, len(images), self.classes), "float32")
        neurons = np.zeros((len(images), len(self.neurons.weights)), "float32")
        return as_arrays(self.engine.look(images, Plan(images, ends, nothing, neurons)))

    def windows(self, corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The windows of each iteration, or one that all share: ``(n, iterations, 2)`` -> ``(some, n, ..., 1)``."""
        some = corners if CONSTRAINTS[self.settings.constraint].wanders else corners[:, :1]
        return np.stack([squares(place, self.settings.box, shape) for place in some.swapaxes(0, 1)])


def as_arrays(now: Seen) -> Seen:
    """The same as NumPy arrays."""
    return Seen(*(ops.convert_to_numpy(each) for each in now))


def stacked(sights: Sequence[Seen]) -> Seen:
    """What was seen in each iteration, with a first axis for them."""
    return Seen(*(np.stack(each) for each in zip(*sights, strict=True)))


@dataclass(slots=True, eq=False)
class Waiting:
    """An image of a seed's queue, and what the models make of it."""

    image: np.ndarray
    logits: np.ndarray  # (models, classes)
    activity: np.ndarray  # (neurons,)


@dataclass(slots=True, eq=False)
class Walk:
    """A batch of seeds on their way."""

    crew: Crew
    seeds: np.ndarray  # (n, height, width, channels)
    ends: np.ndarray
    labels: np.ndarray  # (n,) class of each seed
    queues: list[list[Waiting]]
    streams: list[np.random.Generator]
    times: np.ndarray  # (n, neurons) how often all seeds, and the images of this one, covered each neuron
    kept: np.ndarray  # (n,) how many images were in each queue so far
    done: np.ndarray  # (n,) whether the path has come to its end
    tables: list[dict[str, np.ndarray]] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def begin(cls, crew: Crew, seeds: np.ndarray, ends: np.ndarray, now: Seen, times: np.ndarray, base: int) -> Walk:
        """Every seed with itself in its queue; one that is in the target class already is done."""
        labels = now.logits[0].argmax(-1)
        rows = range(len(seeds))  # each has a queue and a stream of its own
        queues = [[Waiting(seeds[row], now.logits[:, row], now.activity[row])] for row in rows]
        streams = [stream(base, seeds[row]) for row in rows]
        each, ones = np.tile(times, (len(seeds), 1)), np.ones(len(seeds), int)
        return cls(crew, seeds, ends, labels, queues, streams, each, ones, labels == crew.settings.target)

    def go(self) -> None:
        """Pushes the images of all queues, one of each seed at a time."""
        turn = 0
        while len(rows := self.waiting()):
            self.push(rows, [self.queues[row].pop(0) for row in rows], turn)
            turn += 1

    def waiting(self) -> np.ndarray:
        """The seeds that still have an image to push."""
        return np.flatnonzero([len(queue) > 0 for queue in self.queues] & ~self.done)

    def push(self, rows: np.ndarray, items: Sequence[Waiting], turn: int) -> None:
        """All iterations of one image of each of these seeds."""
        settings, run = self.crew.settings, self.crew.engine
        size, reach = ops.convert_to_tensor(settings.step), ops.convert_to_tensor(settings.reach)
        plan, windows = self.planned(rows, items)
        images = np.stack([item.image for item in items])
        given = [ops.convert_to_tensor(each) for each in (images, *plan, windows)]
        iterations = ops.arange(settings.iterations)
        pictures, sights = run.steps(given[0], Plan(*given[1:-1]), given[-1], size, reach, iterations)
        self.note(rows, turn, np.asarray(pictures), as_arrays(sights))  # not copied: they are many

    def planned(self, rows: np.ndarray, items: Sequence[Waiting]) -> tuple[Plan, np.ndarray]:
        """What the images are pushed towards, and the windows of each iteration."""
        settings, crew = self.crew.settings, self.crew
        count = len(crew.neurons.weights)
        noise = np.stack([self.streams[row].random(count) for row in rows])
        corners = np.stack([self.streams[row].random((settings.iterations, 2)) for row in rows])
        deviating = np.array([self.streams[row].integers(crew.models) for row in rows])
        moment = Moment(self.times[rows], np.stack([item.activity for item in items]), noise)
        chosen = coverage.chosen(crew.neurons, moment, settings.strategies, settings.neurons)
        logits = np.stack([item.logits[0] for item in items])
        classes = self.class_weights(logits, self.labels[rows], deviating)
        weights = (classes.astype("float32"), (settings.neuron_weight * chosen).astype("float32"))
        return Plan(self.seeds[rows], self.ends[rows], *weights), crew.windows(corners, self.seeds.shape[1:])

    def class_weights(self, logits: np.ndarray, labels: np.ndarray, deviating: np.ndarray) -> np.ndarray:
        """Weights of the logits, by the objective of the run: ``(models, n, classes)``."""
        settings, models = self.crew.settings, self.crew.models
        if models > 1:
            return objectives.disagree(deviating, labels, models, self.crew.classes, settings.deviation)
        if settings.target is not None:
            return objectives.towards(settings.target, labels, self.crew.classes)
        return objectives.deviate(logits, labels, settings.competitors, settings.predict_weight)

    def note(self, rows: np.ndarray, turn: int, pictures: np.ndarray, seen: Seen, first: int = 1) -> None:
        """Takes down what became of the images in each iteration, and keeps those that covered more.

        Everything seen has a first axis of iterations, of which the first has that number.
        """
        models, labels = self.crew.models, self.labels[rows]
        given = seen.logits.argmax(-1)  # (iterations, models, n)
        adversarial = np.any(given != (labels if models == 1 else given[:, :1]), 1)
        # A path of several models ends with their first disagreement.
        on = (np.cumsum(adversarial, 0) - adversarial == 0) | (models == 1)
        on = on & ~self.done[rows]
        active = (seen.activity > self.crew.settings.threshold) & on[..., None]
        times = self.times[rows] + np.cumsum(active, 0)  # (iterations, n, neurons)
        gained = np.mean(active & (times == active), 2)
        self.times[rows] = times[-1]
        self.done[rows] |= (models > 1) & adversarial.any(0)
        self.keep(rows, on & (gained > 0), gained, pictures, seen)
        losses = -log_softmax(seen.logits[:, 0], axis=-1)  # (iterations, n, classes)
        own, aim = objectives.one_hot(labels, self.crew.classes) > 0, self.crew.settings.target
        columns = {
            "seed": np.tile(rows, (len(on), 1)),
            "turn": np.full(on.shape, turn),
            "iteration": np.tile(first + np.arange(len(on))[:, None], len(rows)),
            "before": np.tile(labels, (len(on), 1)),
            "after": given[:, 0],
            "adversarial": adversarial,
            "objective": seen.objective,
            "target_loss": np.where(own, np.inf, losses).min(2) if aim is None else losses[..., aim],
            "original_loss": losses[:, own],
            "covered": np.mean(times > 0, 2),
            "l2": seen.l2,
            "linf": seen.linf,
            "left": seen.left,
        }
        self.tables.append({name: values.T[on.T] for name, values in columns.items()})  # seed by seed
        self.found.append(pictures.swapaxes(0, 1)[(on & adversarial).T])

    def keep(self, rows: np.ndarray, able: np.ndarray, gained: np.ndarray, pictures: np.ndarray, seen: Seen) -> None:
        """Puts images that gained enough coverage, near their seeds, into the queues that are not full."""
        settings, seeds = self.crew.settings, self.seeds[rows]
        norms = np.maximum(np.sqrt(np.sum(np.square(seeds), (1, 2, 3))), 1.0)
        able = able & (seen.l2 <= settings.near * norms)
        for iteration, index in np.argwhere(able):  # each goes to a queue of its own, in the order they came
            row = rows[index]
            if self.kept[row] < settings.queue and gained[iteration, index] > settings.gain / self.kept[row]:
                kept = Waiting(
                    pictures[iteration, index].copy(), seen.logits[iteration, :, index], seen.activity[iteration, index]
                )
                self.queues[row].append(kept)
                self.kept[row] += 1


def stream(base: int, image: np.ndarray) -> np.random.Generator:
    """A seed's own random numbers: they depend on the run and on the image, not on what lies beside it."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    return np.random.default_rng([base, int.from_bytes(digest[:8])])


def joined(walks: Sequence[Walk], starts: Sequence[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The tables of all batches as one, by seed, turn and iteration, and the adversarial images in that order."""
    tables = [
        {**table, "seed": table["seed"] + start}
        for walk, start in zip(walks, starts, strict=True)
        for table in walk.tables
    ]
    table = {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}
    order = np.lexsort((table["iteration"], table["turn"], table["seed"]))
    place = (np.cumsum(table["adversarial"]) - 1)[order]  # of each adversarial entry, among the images
    found = [images for walk in walks for images in walk.found]
    table = {name: values[order] for name, values in table.items()}
    # One part is in order already, and copying the images takes as long as many iterations.
    return table, found[0] if len(found) == 1 else np.concatenate(found)[place[table["adversarial"]]]
