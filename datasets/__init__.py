"""Data sets: the layouts in which people keep labelled pictures, and small generated sets.

Its modules are used one by one; `generated` writes the sample sets. Knows no network. Imports pictures, system and
errors.
"""
