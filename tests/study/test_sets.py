"""The sets of the detection study are what the study says they are."""

from collections import Counter

from example_models.planting import ATTACKS, MODEL_ATTACKS
from example_models.sets import SETS
from example_models.training import TRAININGS


def recipes(name):
    return list(SETS[name]())


def test_no_model_is_in_two_sets():
    seeds = [recipe.seed for name in SETS for recipe in recipes(name)]
    names = [recipe.name for name in SETS for recipe in recipes(name)]
    assert len(set(seeds)) == len(seeds)
    assert len(set(names)) == len(names)


def test_the_reference_is_clean_and_of_every_data_set_network_and_training():
    reference = recipes("reference")
    assert len(reference) >= 199
    assert all(recipe.attack is None for recipe in reference)
    assert min(Counter(recipe.data for recipe in reference).values()) >= 50
    assert len({recipe.architecture for recipe in reference}) >= 6
    assert {recipe.training for recipe in reference} == set(TRAININGS)


def test_the_test_set_has_sixty_clean_models_and_every_attack_on_every_data_set():
    test = recipes("test")
    assert sum(recipe.attack is None for recipe in test) == 60
    planted = Counter((recipe.attack, recipe.kind, recipe.data) for recipe in test if recipe.attack)
    assert len(planted) >= 80
    assert {attack for attack, _, _ in planted} == {*ATTACKS, *MODEL_ATTACKS}


def test_the_test_set_has_two_more_of_attacks_that_seldom_work():
    planted = Counter((recipe.attack, recipe.kind) for recipe in recipes("test") if recipe.attack)
    assert planted["pattern", "all-to-one"] == 4  # one on each data set
    assert planted["warp", "all-to-one"] == 6
    assert set(planted.values()) == {4, 6}


def test_rare_models_have_few_poisoned_images_and_clean_ones_beside_them():
    rare = recipes("rare")
    attacked = [recipe for recipe in rare if recipe.attack]
    assert len(rare) - len(attacked) >= 5
    assert max(recipe.share for recipe in attacked if recipe.kind == "all-to-one") <= 0.05


def test_a_source_is_never_its_target():
    pairs = [(recipe.source, recipe.target) for name in SETS for recipe in recipes(name) if recipe.source is not None]
    assert all(source != target for source, target in pairs)


def test_near_twins_are_eleven_classes_of_a_data_set_of_ten():
    twins = recipes("twins")
    assert {recipe.classes for recipe in twins} == {11}
    assert {(recipe.images, recipe.attack) for recipe in twins} == {("mnist", None), ("fashion_mnist", None)}
    assert len({recipe.architecture for recipe in twins}) >= 6
    assert recipes("test")[0].classes == 10
