"""What every part of dlcore uses and that knows nothing of learning.

validation       checks of settings
configurable     objects that remember their settings
formatting       numbers as text
files            files that are written whole or not at all, and files that grow
regular          files from elsewhere, opened only where they are regular
lock             one process for a folder
input_tree       one array, several, or several by name
arrays           what becomes a tensor, and as what
current_device   the device of what a function is given
device_mismatch  arrays of two devices in one call
escapes          control characters in names, shown
markup           HTML for notebooks
quiet            Python's warnings, changed by one thread at a time
"""
