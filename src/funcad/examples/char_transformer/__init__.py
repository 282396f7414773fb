"""A transformer that learns to write, one character at a time.

::

    python -m funcad.examples.char_transformer                      # Python's reference
    python -m funcad.examples.char_transformer --text novel.txt --preset nanogpt-cpu

Read ``model.py`` first: the network is a function of nested dicts of arrays.  Then
``training.py``: ``value_and_grad`` of its loss and ``optim.adamw`` make a step, and a
loop repeats it.  ``text.py`` makes batches, ``checkpoint.py`` keeps what was learned,
``settings.py`` holds the sizes, and ``cli.py`` is the command.
"""
