"""Frozen networks that describe sound, behind one interface (`base.Extractor`)."""
