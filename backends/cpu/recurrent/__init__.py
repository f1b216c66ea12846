"""Recurrent layers for NumPy: rnn, lstm, gru, and what they share in ``common``.

A task runs some sequences from their first step to their last.
"""
