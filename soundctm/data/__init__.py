"""Sound files in, captioned waveforms out: reading, mixing, composing training items, the corpus and its builder."""
