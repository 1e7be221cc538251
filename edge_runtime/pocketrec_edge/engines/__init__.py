"""Engines: the interface to an inference library.

In: a model file. Out: an engine: named arrays in, one array out.
Read in this order: select.py, litert_engine.py and onnx_engine.py, engine_notes.py.
"""
