"""Tables in CSV files.

table        the reader
sniff        separator, quotes, header and encoding
rows         of a file, bounded
row_numbers  columns that only count the rows
columns      the kind of each column
levels       the values of a category
cells        of a row, as numbers
patterns     how numbers and dates are written
moments      dates and times
targets      what is predicted
"""
