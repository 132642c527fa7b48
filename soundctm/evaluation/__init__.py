"""Judging generated sound against real sound."""
