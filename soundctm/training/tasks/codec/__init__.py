"""Training of the small audio codec: first the mel VAE, then the vocoder."""
