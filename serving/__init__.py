"""Exported models behind HTTP: `densebone serve FOLDER`. It stands on the runtime, without Paddle.

Its face is `server.serve`. Requests are read by `bodies` and `inference_protocol`, wait in `batching`, and are answered
by `answers`; `application` joins them, `access` guards them, `metrics` counts them.

Imports runtime, pictures, system and errors.
"""
