"""Training loops: codec, teacher, distillation."""
