"""What every framework's source shares: a model as classes of a file, written once, as a person would commit them.

tree.py        a tree of modules as instances: fields as terms (terms.py), forwards as steps (steps.py)
classes.py     instances of one name as one class, what differs between them as its parameters (parameters.py)
forward.py     a forward as lines (expressions.py, naming.py), layout.py lines of 120

A framework's own folder (writers/torch/source, writers/keras/source, writers/jax/source) makes the tree, and says what
its layers and functions are called.
"""
