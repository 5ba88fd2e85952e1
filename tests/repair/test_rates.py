"""Which rates a tuning tries: until one suffices, clean and under each trigger."""

import numpy as np

from pytest_backdoor.attacks import pixel
from pytest_backdoor.repair.tuning import Settings, seen_alike
from pytest_backdoor.repair.unlearning import unlearned
from tests.tiny import bright_model, bright_pixels

TRIGGER = pixel((8, 8, 1), 5, 5)  # which bright_model takes for class 1


def test_no_rate_is_tried_after_one_that_suffices():
    model, (subject, seeds) = bright_model(), bright_pixels()
    drawn = []
    for rates in ((1.0,), (1.0, 0.5)):
        rng = np.random.default_rng(0)
        unlearned(model, subject, seeds, [TRIGGER], Settings(rates, reach=0), rng)
        drawn.append(rng.random())  # another training would have drawn its batches before
    assert drawn[0] == drawn[1]


def test_a_rate_that_leaves_the_trigger_working_does_not_suffice_though_clean_images_are_right():
    model, (subject, seeds) = bright_model(), bright_pixels()
    settings = Settings((1e-9, 1.0), reach=0)
    made = seen_alike(unlearned(model, subject, seeds, [TRIGGER], settings, np.random.default_rng(0)), subject)
    assert (made.classes(TRIGGER.apply(seeds.images)) == seeds.labels).all()
