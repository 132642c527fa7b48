"""Codecs beside the mel codec of `audioldm`: what turns waveforms into latents and back."""
