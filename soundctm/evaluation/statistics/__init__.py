"""Statistics of extracted features: pure functions of torch tensors, in float64 inside, each returning a `Score`.

A set of clips (`Clips`) is one tensor [N, D], each row a clip of its own, or a sequence of tensors [P_i, D], one per
clip with its P_i patches (`Features.embeddings`). Logits are [N, classes], one row per clip. Whatever is paired is
paired by row.

    result.Score(value, low, high, n_reference, n_generated, details)

    frechet.frechet_distance(reference, generated, level=0.95) -> Score
    frechet.frechet_from_moments(mean_a, covariance_a, mean_b, covariance_b) -> float
    extrapolation.fad_infinity(reference, generated, seed=0) -> Score
    kernels.kernel_audio_distance(reference, generated, level=0.95) -> Score
    kernels.rbf_mmd(reference, generated, level=0.95) -> Score
    kernels.kernel_inception_distance(reference, generated, subsets=100, subset_size=1000, seed=2020) -> Score
    divergence.kl_softmax(reference_logits, generated_logits, level=0.95, seed=0) -> Score
    divergence.kl_softmax_reverse(reference_logits, generated_logits, level=0.95, seed=0) -> Score
    divergence.kl_sigmoid(reference_logits, generated_logits, level=0.95, seed=0) -> Score
    divergence.kl_softmax_pairs(reference_logits, generated_logits) -> Tensor [N]; kl_sigmoid_pairs likewise
    inception.inception_score(logits, splits=10, seed=2020, level=0.95) -> Score
    similarity.clap_score(audio_embeddings, text_embeddings, level=0.95, seed=0) -> Score

`level` is the confidence of the interval `low` to `high`, over clips, not patches; None leaves it out. Means over clips
(KL, CLAP) take a seeded bootstrap, statistics of whole sets (Frechet, kernel, inception) a jackknife, which needs no
seed: `jackknife.py` says why. Bad input (no rows, too few clips, different widths, values that are not finite) raises
UserError.
"""
