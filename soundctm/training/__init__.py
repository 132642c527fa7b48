"""Training of codec, teacher and student: `tasks`, what they learn from (`inputs`) and what runs them (`running`)."""
