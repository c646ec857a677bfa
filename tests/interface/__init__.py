"""The public interface, as it is (``described.py``) and as it was promised (the text files)."""
