"""Convolution for NumPy.

im2col               by blocks of windows, of any kind
direct               of images of few channels
winograd             by 3×3 filters of many channels
winograd_transforms  of its tiles
"""
