"""What is done with a trained run, printing nothing: the command line and Python share it."""
