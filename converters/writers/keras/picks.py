"""Which operators a model is not compiled with, and which draw random numbers."""

# sizes that depend on the numbers in their inputs: no backend compiles them
PICKS = {
    *("NonZero", "Unique", "Compress", "NonMaxSuppression", "If", "Loop", "SequenceMap"),
    *("SplitToSequence", "RoiAlign", "MaxRoiPool"),
}
# other numbers at every call
RANDOM = {
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
    *("Dropout", "StochasticDepth"),
}
