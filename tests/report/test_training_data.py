"""The text of a failed check of training data."""

from pytest_backdoor.dataset_results import ClassChecked, DatasetResult, Split
from pytest_backdoor.report.training_data import suspects_text

CLUSTERS = Split("activation clustering", 8.25, 3e-6, tuple(range(20, 35)))
SIGNATURES = Split("spectral signatures", 3.5, 1.0, (20, 21))
CLEAN = Split("activation clustering", 3.1, 1.0, (1, 2))
RESULT = DatasetResult(
    1000,
    "/255",
    0.98,
    3e-6,
    (
        ClassChecked(0, 480, False, (CLEAN, SIGNATURES)),
        ClassChecked(3, 500, True, (CLUSTERS, SIGNATURES)),
        ClassChecked(4, 20, False, skipped="20 images, and 100 are needed"),
    ),
)


def test_the_text_names_classes_numbers_of_images_and_what_to_do():
    assert suspects_text(RESULT, 0.01).splitlines() == [
        "SUSPICIOUS TRAINING DATA class 3: 15 of 1000 images",
        "  p-value  3e-06 for all classes and checks (alpha 0.01)",
        "  images   scaling /255, accuracy 98 %",
        "  class 3  15 of 500 images: 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, ...; two groups apart: activation "
        "clustering 8.25 (p 3e-06), spectral signatures 3.5 (p 1)",
        "  skipped  class 4: 20 images, and 100 are needed",
        "  next     look at these images and at others of their class: one of the two groups is poisoned, mostly the "
        "smaller one, which is named; remove it, or the whole class, and train again; scan the model for the trigger",
    ]


def test_several_classes_are_named_the_most_suspicious_first():
    worse = ClassChecked(1, 500, True, (Split("activation clustering", 20, 1e-9, (7,)),))
    both = DatasetResult(1000, "/255", 0.98, 1e-9, (RESULT.classes[1], worse))
    assert suspects_text(both, 0.01).startswith("SUSPICIOUS TRAINING DATA classes 1, 3: 16 of 1000 images")
