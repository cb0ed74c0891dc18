"""Pictures: finding them, reading them, preparing them for a network, drawing on them, and plots.

Its modules are used one by one. Knows no network and no Paddle. Imports system and errors.
"""
