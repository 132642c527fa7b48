"""A training bundle: one file of latents and caption states from which teacher and student are trained.

    python -m soundctm.data.bundle make --corpus data/corpus --codec ckpt/mini/codec --output exp/bundle.safetensors
    python ctm_train.py teacher --bundle exp/bundle.safetensors ...

One safetensors file:

    train.mean, held_out.mean         posterior means of the items [N, C, ...], unscaled
    train.caption, held_out.caption   int32 [N], the item's caption in the list of the header
    train.logvar, held_out.logvar     float16, only where the codec's posterior has a variance
    text.rows                         hidden states of all different captions, one after the other [tokens, D / 32, 32]

`mean` and `rows` are float16, or int8 with a float16 step size for each row of their numbers in `<name>.step`
(soundctm.data.bundle.numbers). The header says what they were made with, and how far 8 bits are from the originals.
"""
