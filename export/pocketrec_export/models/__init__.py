"""Models: Keras models become TFLite and ONNX files.

In: a trained model. Out: files in several variants, each with its minimum runtime.
Read in this order: convert.py, freeze.py, tower_form.py, ranker_form.py with ranker_columns.py and
ranker_weights.py; tflite.py and tflite_*.py; onnx_export.py and onnx_*.py; operators.py; ort_*.py.
"""
