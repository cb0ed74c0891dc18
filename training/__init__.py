"""What every training run needs: the loop, batches, checkpoints, history, several processes.

Its modules are used one by one. Imports weights, backbones, pictures, system and errors.
"""
