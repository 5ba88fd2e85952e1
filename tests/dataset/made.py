"""Features of one class with poisoned images among them, made by hand."""


def one_class(poisoned, rng, count=400, axes=20):
    """Features of a class around 0; the first ``poisoned`` are moved by 9 along the last axis."""
    features = rng.normal(size=(count, axes))
    features[:poisoned, -1] += 9
    return features - features.mean(0)
