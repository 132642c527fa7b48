"""The trainings: what each learns, and from which losses."""
