"""Tests of koilo.slides."""
