"""Files on disk: atomic writes, folders replaced in one step, locks between processes.

In: paths and bytes. Out: a file or folder that is either old or new, also after a crash.
Read in this order: files.py; locks.py.
"""
