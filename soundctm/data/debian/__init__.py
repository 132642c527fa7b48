"""Sounds out of Debian packages: fetching them, and what they are kept in."""
