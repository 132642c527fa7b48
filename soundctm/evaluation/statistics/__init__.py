"""Statistics of extracted features: pure functions of torch tensors, in float64 inside, each returning a `Score`.

A set of clips is given as one tensor [N, D], each row a clip of its own, or as a sequence of tensors [P_i, D], one per
clip with its P_i patches (`Features.embeddings`). Logits are [N, classes], one row per clip. Whatever is paired is
paired by row. `bootstrap` asks for a confidence interval over clips, None leaves `low` and `high` None.

    result.Score(value, low, high, n_reference, n_generated, details)
    bootstrap.Bootstrap(replicates=100, level=0.95, seed=0)

    frechet.frechet_distance(reference, generated, bootstrap=None) -> Score
    frechet.frechet_from_moments(mean_a, covariance_a, mean_b, covariance_b) -> float
    extrapolation.fad_infinity(reference, generated, seed=0) -> Score
    kernels.kernel_audio_distance(reference, generated, bootstrap=None) -> Score
    kernels.kernel_inception_distance(reference, generated, subsets=100, subset_size=1000, seed=2020) -> Score
    divergence.kl_softmax(reference_logits, generated_logits, bootstrap=None) -> Score
    divergence.kl_sigmoid(reference_logits, generated_logits, bootstrap=None) -> Score
    divergence.kl_softmax_pairs(reference_logits, generated_logits) -> Tensor [N]; kl_sigmoid_pairs likewise
    inception.inception_score(logits, splits=10, seed=2020, bootstrap=None) -> Score
    similarity.clap_score(audio_embeddings, text_embeddings, bootstrap=None) -> Score

Bad input (no rows, too few rows, different widths, values that are not finite) raises UserError.
"""
