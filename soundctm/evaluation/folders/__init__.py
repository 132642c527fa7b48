"""Two folders of clips to a report: reading, pairing, features, scores."""
