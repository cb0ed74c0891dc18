"""Features and predictions on many machines, with Ray: the same files as on one machine.

`featuring.hands` and `predicting.hands` are what `features.job.extract` and the tasks' `predict` take. `crew` keeps
workers at their work, `worker` is what runs there. Imports features, tasks, pictures, system and errors.
"""
