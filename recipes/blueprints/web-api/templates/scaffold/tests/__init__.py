"""Tests of tpl-service; run them with `python3 -m unittest discover -s tests -t .`."""
