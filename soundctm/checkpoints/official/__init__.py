"""The files of the official releases, read unchanged and written back: names, shapes and layouts of others."""
