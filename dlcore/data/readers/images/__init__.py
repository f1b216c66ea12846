"""Folders of pictures: ``folder`` reads them, ``decode`` one of them; ``common_form`` decides what all become."""
