"""Everything behind `ctm_inference.py`: options, prompt lists, names and seeds, the manifest, the files.

Nothing here imports torch before the options, the prompts and the output folder have been checked.
"""
