"""Pictures: find them, read them, prepare them for a network, draw on them, and plot.

Import the module that you need. None of them uses Paddle or a network. Imports system and errors.
"""
